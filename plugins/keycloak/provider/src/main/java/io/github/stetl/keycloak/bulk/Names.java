package io.github.stetl.keycloak.bulk;

import java.util.HashMap;
import java.util.Map;

import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.utils.KeycloakModelUtils;

/** Names of what rows of accounts refer to by id, each looked up once. */
final class Names {

    private final KeycloakSession session;
    private final RealmModel realm;
    private final Map<String, RoleModel> roles = new HashMap<>();
    private final Map<String, String> paths = new HashMap<>();
    private final Map<String, Boolean> providers = new HashMap<>();

    Names(KeycloakSession session, RealmModel realm) {
        this.session = session;
        this.realm = realm;
    }

    /** Null for a role that is not the realm's own. */
    RoleModel role(String id) {
        if (!roles.containsKey(id)) {
            RoleModel role = realm.getRoleById(id);
            roles.put(id, role == null || role.isClientRole() ? null : role);
        }
        return roles.get(id);
    }

    /** Null for what organizations are made of. */
    String path(String groupId) {
        if (!paths.containsKey(groupId)) {
            GroupModel group = session.groups().getGroupById(realm, groupId);
            boolean ordinary = group != null && group.getType() == GroupModel.Type.REALM;
            paths.put(groupId, ordinary ? KeycloakModelUtils.buildGroupPath(group) : null);
        }
        return paths.get(groupId);
    }

    /** The server shows no links to identity providers that the realm does not have. */
    boolean shown(String alias) {
        if (!providers.containsKey(alias)) {
            providers.put(alias, session.identityProviders().getByAlias(alias) != null);
        }
        return providers.get(alias);
    }
}
