package io.github.stetl.keycloak.bulk;

import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.persistence.FlushModeType;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.userprofile.UserProfileContext;
import org.keycloak.userprofile.UserProfileProvider;

/**
 * Reads accounts with all that the admin API shows of each in five requests, in a few look-ups for all. The names of the
 * fields are that API's.
 */
final class Reader {

    private final KeycloakSession session;
    private final RealmModel realm;
    private final EntityManager em;
    private final Names names;

    Reader(KeycloakSession session, RealmModel realm) {
        this.session = session;
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
        this.names = new Names(session, realm);
    }

    Collection<Map<String, Object>> read(Collection<String> wanted) {
        Set<String> ids = new HashSet<>(wanted);
        Map<String, Map<String, Object>> accounts = new LinkedHashMap<>();
        if (ids.isEmpty()) {
            return accounts.values();
        }
        em.setFlushMode(FlushModeType.COMMIT); // nothing was written that a look-up would have to see
        // With their attributes, so that the users come out of the session.
        em.createQuery("select u from UserEntity u left join fetch u.attributes where u.realmId = :realm and u.id in :ids")
                .setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList();
        UserProfileProvider profiles = session.getProvider(UserProfileProvider.class);
        for (String id : ids) {
            UserModel user = session.users().getUserById(realm, id);
            if (user != null) {
                accounts.put(id, account(user, profiles));
            }
        }
        for (Object[] row : rows(ids, "select c.user.id, c.id, c.type, c.userLabel, c.createdDate, c.credentialData from CredentialEntity c"
                + " where c.user.id in :ids order by c.priority")) {
            add(accounts, row, "credentials", object("id", row[1], "type", row[2], "userLabel", row[3], "createdDate", row[4],
                    "credentialData", row[5]));
        }
        for (Object[] row : rows(ids, "select m.user.id, m.roleId from UserRoleMappingEntity m where m.user.id in :ids")) {
            RoleModel role = names.role((String) row[1]);
            if (role != null) {
                add(accounts, row, "roles", object("id", role.getId(), "name", role.getName()));
            }
        }
        for (Object[] row : rows(ids, "select m.user.id, m.groupId from UserGroupMembershipEntity m where m.user.id in :ids")) {
            String path = names.path((String) row[1]);
            if (path != null) {
                add(accounts, row, "groups", object("id", row[1], "path", path));
            }
        }
        for (Object[] row : rows(ids, "select l.user.id, l.identityProvider, l.userId, l.userName from FederatedIdentityEntity l"
                + " where l.user.id in :ids")) {
            if (names.shown((String) row[1])) {
                add(accounts, row, "links", object("identityProvider", row[1], "userId", row[2], "userName", row[3]));
            }
        }
        return accounts.values();
    }

    private Map<String, Object> account(UserModel user, UserProfileProvider profiles) {
        // What administrators may see, as the admin API decides it.
        Map<String, List<String>> attributes =
                new HashMap<>(profiles.create(UserProfileContext.USER_API, user).getAttributes().getReadable());
        Map<String, Object> account = object(
                "id", user.getId(), "enabled", user.isEnabled(), "emailVerified", user.isEmailVerified(),
                "requiredActions", user.getRequiredActionsStream().toList());
        for (String name : List.of(UserModel.USERNAME, UserModel.EMAIL, UserModel.FIRST_NAME, UserModel.LAST_NAME)) {
            List<String> values = attributes.remove(name);
            if (values != null && !values.isEmpty()) {
                account.put(name, values.get(0));
            }
        }
        account.put("attributes", attributes);
        return account;
    }

    private List<Object[]> rows(Set<String> ids, String query) {
        return em.createQuery(query, Object[].class).setParameter("ids", ids).getResultList();
    }

    /** Adds to a list of the account that the row begins with, unless the realm has no such account. */
    private static void add(Map<String, Map<String, Object>> accounts, Object[] row, String list, Map<String, Object> item) {
        Map<String, Object> account = accounts.get(row[0]);
        if (account == null) {
            return;
        }
        @SuppressWarnings("unchecked")
        List<Object> items = (List<Object>) account.get(list);
        if (items == null) {
            items = new ArrayList<>();
            account.put(list, items);
        }
        items.add(item);
    }

    private static Map<String, Object> object(Object... namesAndValues) {
        Map<String, Object> object = new LinkedHashMap<>();
        for (int i = 0; i < namesAndValues.length; i += 2) {
            object.put((String) namesAndValues[i], namesAndValues[i + 1]);
        }
        return object;
    }
}
