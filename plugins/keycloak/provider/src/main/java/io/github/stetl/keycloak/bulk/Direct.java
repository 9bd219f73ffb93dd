package io.github.stetl.keycloak.bulk;

import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.Iterator;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.persistence.metamodel.Attribute;

import com.fasterxml.jackson.databind.JsonNode;

import org.jboss.logging.Logger;
import org.keycloak.common.Version;
import org.keycloak.common.util.Time;
import org.keycloak.credential.CredentialModel;
import org.keycloak.credential.CredentialProvider;
import org.keycloak.credential.OTPCredentialProvider;
import org.keycloak.credential.PasswordCredentialProvider;
import org.keycloak.models.FederatedIdentityModel;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.models.UserProvider;
import org.keycloak.models.jpa.JpaUserProvider;
import org.keycloak.models.jpa.UserAdapter;
import org.keycloak.models.jpa.entities.CredentialEntity;
import org.keycloak.models.jpa.entities.FederatedIdentityEntity;
import org.keycloak.models.jpa.entities.UserAttributeEntity;
import org.keycloak.models.jpa.entities.UserEntity;
import org.keycloak.models.jpa.entities.UserGroupMembershipEntity;
import org.keycloak.models.jpa.entities.UserRequiredActionEntity;
import org.keycloak.models.jpa.entities.UserRoleMappingEntity;
import org.keycloak.models.utils.DefaultRequiredActions;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keycloak.models.utils.RepresentationToModel;
import org.keycloak.provider.ProviderEvent;
import org.keycloak.representations.idm.CredentialRepresentation;
import org.keycloak.representations.idm.FederatedIdentityRepresentation;
import org.keycloak.representations.idm.MembershipType;
import org.keycloak.representations.idm.UserRepresentation;

/**
 * Creates a user as the server's import routine does, with the same rows and events, without its look-ups and flushes:
 * what is new has nothing to be found. The rows of many go with one statement ({@link Rows}). Only for servers and for users of which every row is known; others are left to
 * that routine.
 */
final class Direct {

    private static final Logger LOG = Logger.getLogger(Direct.class);

    /** The newest 26.x whose routine this was compared with. */
    private static final int NEWEST = 7;

    private static volatile boolean unknown;
    private static final boolean STAMPED = has(UserModel.class.getName(), "setLastModifiedTimestamp");
    private static final boolean GRANTS = has("org.keycloak.models.RoleModel$RoleGrantedEvent", "getUser");

    private static final Set<String> USER = Set.of("id", "username", "email", "emailVerified", "firstName", "lastName", "enabled",
            "createdTimestamp", "attributes", "requiredActions", "credentials", "federatedIdentities", "realmRoles", "groups");
    private static final Set<String> CREDENTIAL =
            Set.of("id", "type", "userLabel", "createdDate", "credentialData", "secretData");
    /** Attributes that are fields of the user. */
    private static final Set<String> FIELDS = Set.of(UserModel.USERNAME, UserModel.EMAIL, UserModel.FIRST_NAME, UserModel.LAST_NAME);

    private static final Set<String> LINK = Set.of("identityProvider", "userId", "userName");

    private final KeycloakSession session;
    private final RealmModel realm;
    private final EntityManager em;
    private final Map<String, CredentialProvider<?>> providers = new HashMap<>();
    private final Map<String, GroupModel> groups = new HashMap<>();
    private final Map<String, RoleModel> roles = new HashMap<>();
    private final Rows rows;

    private Direct(KeycloakSession session, RealmModel realm, EntityManager em) {
        this.session = session;
        this.realm = realm;
        this.em = em;
        this.rows = Rows.on(em);
    }

    /** Writes what {@link #create} has kept for one statement. */
    void finish() {
        if (rows != null) {
            rows.write();
        }
    }

    /** Null on a server that may keep or tell more of a user than is known here. */
    static Direct on(KeycloakSession session, RealmModel realm, EntityManager em) {
        return !unknown && known(session, em) ? new Direct(session, realm, em) : null;
    }

    /** Leaves all users to the server, which lacks something that is called here. */
    static void giveUp(LinkageError lack) {
        LOG.warnf("users are created by the server's import routine, which is slower: %s", lack);
        unknown = true;
    }

    /** Whether nothing is set but what {@link #create} writes. */
    static boolean covers(JsonNode user) {
        return only(user, USER) && user.hasNonNull("createdTimestamp")
                && each(user.path("credentials"), CREDENTIAL, "type") && each(user.path("federatedIdentities"), LINK, "identityProvider");
    }

    /** Whether the objects have no other fields, and none the value of another in one that has to be there. */
    private static boolean each(JsonNode objects, Set<String> fields, String key) {
        Set<String> keys = new HashSet<>();
        for (JsonNode object : objects) {
            if (!only(object, fields) || !object.path(key).isTextual() || !keys.add(object.path(key).textValue())) {
                return false;
            }
        }
        return true;
    }

    private static boolean only(JsonNode object, Set<String> fields) {
        for (Iterator<String> names = object.fieldNames(); names.hasNext();) {
            if (!fields.contains(names.next())) {
                return false;
            }
        }
        return object.isObject();
    }

    /** Returns false, and has done nothing, where the server handles one of the credentials in a way of its own. */
    boolean create(UserRepresentation from) {
        List<CredentialModel> credentials = credentials(from);
        if (credentials == null) {
            return false;
        }
        UserEntity entity = new UserEntity();
        entity.setId(from.getId());
        entity.setRealmId(realm.getId());
        UserModel user = new UserAdapter(session, realm, em, entity);
        user.setUsername(from.getUsername());
        user.setEnabled(from.isEnabled() != null && from.isEnabled());
        user.setCreatedTimestamp(from.getCreatedTimestamp());
        if (STAMPED) {
            user.setLastModifiedTimestamp(Time.currentTimeMillis());
        }
        user.setEmail(from.getEmail());
        user.setEmailVerified(from.isEmailVerified() != null && from.isEmailVerified());
        user.setFirstName(from.getFirstName());
        user.setLastName(from.getLastName());
        Store store = rows != null && fits(from.getAttributes()) ? rows::add : em::persist;
        store.add(entity); // now, since what changes after it takes a statement of its own
        attributes(entity, user, from.getAttributes(), store);
        actions(entity, from.getRequiredActions(), store);
        int priority = 0;
        for (CredentialModel credential : credentials) {
            priority += 10;
            store.add(entity(entity, credential, priority));
        }
        link(entity, user, from.getFederatedIdentities(), store);
        grant(entity, user, from.getRealmRoles(), store);
        join(entity, user, from.getGroups(), store);
        return true;
    }

    /** Where rows go. */
    private interface Store {

        void add(Object entity);
    }

    private static boolean fits(Map<String, List<String>> attributes) {
        if (attributes == null) {
            return true;
        }
        for (Map.Entry<String, List<String>> attribute : attributes.entrySet()) {
            if (FIELDS.contains(attribute.getKey()) || attribute.getValue() != null && !attribute.getValue().stream().allMatch(Rows::fits)) {
                return false;
            }
        }
        return true;
    }

    private void attributes(UserEntity owner, UserModel user, Map<String, List<String>> attributes, Store store) {
        if (attributes == null) {
            return;
        }
        for (Map.Entry<String, List<String>> attribute : attributes.entrySet()) {
            if (attribute.getValue() == null) {
                continue;
            }
            if (FIELDS.contains(attribute.getKey())) { // it takes the place of the field, of a user that is in the session
                user.setAttribute(attribute.getKey(), new ArrayList<>(attribute.getValue()));
                continue;
            }
            for (String value : attribute.getValue()) {
                UserAttributeEntity entity = new UserAttributeEntity();
                entity.setId(KeycloakModelUtils.generateId());
                entity.setName(attribute.getKey());
                entity.setValue(value);
                entity.setUser(owner);
                store.add(entity);
                owner.getAttributes().add(entity);
            }
        }
    }

    private static void actions(UserEntity owner, List<String> actions, Store store) {
        if (actions == null) {
            return;
        }
        Set<String> known = new LinkedHashSet<>();
        for (String action : actions) {
            known.add(DefaultRequiredActions.getDefaultRequiredActionCaseInsensitively(action));
        }
        for (String action : known) {
            UserRequiredActionEntity entity = new UserRequiredActionEntity();
            entity.setUser(owner);
            entity.setAction(action);
            store.add(entity);
            owner.getRequiredActions().add(entity);
        }
    }

    /** Null where another provider than the server's own would store one of them. */
    private List<CredentialModel> credentials(UserRepresentation user) {
        List<CredentialModel> all = new ArrayList<>();
        if (user.getCredentials() == null) {
            return all;
        }
        for (CredentialRepresentation sent : user.getCredentials()) {
            CredentialModel credential = RepresentationToModel.toModel(sent);
            CredentialProvider<?> provider = provider(credential);
            if (provider == null) {
                return null;
            }
            CredentialModel checked = provider.getCredentialFromModel(credential);
            if (checked.getCreatedDate() == null) {
                checked.setCreatedDate(Time.currentTimeMillis());
            }
            all.add(checked);
        }
        return all;
    }

    private CredentialProvider<?> provider(CredentialModel credential) {
        CredentialProvider<?> found = providers.get(credential.getType());
        if (found != null) {
            return found;
        }
        for (String id : session.listProviderIds(CredentialProvider.class)) {
            CredentialProvider<?> one = (CredentialProvider<?>) session.getProvider(CredentialProvider.class, id);
            if (!one.getClass().getName().startsWith("org.keycloak.")) {
                return null; // may be in charge of any type
            }
            if (one.getType().equals(credential.getType())) {
                found = one;
            }
        }
        if (found == null || found.getClass() != PasswordCredentialProvider.class && found.getClass() != OTPCredentialProvider.class) {
            return null;
        }
        providers.put(credential.getType(), found);
        return found;
    }

    private static CredentialEntity entity(UserEntity owner, CredentialModel credential, int priority) {
        CredentialEntity entity = new CredentialEntity();
        entity.setId(credential.getId() == null ? KeycloakModelUtils.generateId() : credential.getId());
        entity.setType(credential.getType());
        entity.setUserLabel(credential.getUserLabel());
        entity.setCreatedDate(credential.getCreatedDate());
        entity.setCredentialData(credential.getCredentialData());
        entity.setSecretData(credential.getSecretData());
        entity.setPriority(priority);
        entity.setUser(owner);
        return entity;
    }

    private void link(UserEntity owner, UserModel user, List<FederatedIdentityRepresentation> links, Store store) {
        if (links == null) {
            return;
        }
        for (FederatedIdentityRepresentation link : links) {
            FederatedIdentityEntity entity = new FederatedIdentityEntity();
            entity.setRealmId(realm.getId());
            entity.setIdentityProvider(link.getIdentityProvider());
            entity.setUserId(link.getUserId());
            entity.setUserName(link.getUserName());
            entity.setUser(owner);
            store.add(entity);
            session.getKeycloakSessionFactory().publish(new Linked(session, realm, user,
                    new FederatedIdentityModel(link.getIdentityProvider(), link.getUserId(), link.getUserName())));
        }
    }

    private void grant(UserEntity owner, UserModel user, List<String> names, Store store) {
        if (names == null) {
            return;
        }
        for (String sent : names) {
            RoleModel role = roles.computeIfAbsent(sent.trim(), this::role);
            UserRoleMappingEntity entity = new UserRoleMappingEntity();
            entity.setUser(owner);
            entity.setRoleId(role.getId());
            store.add(entity);
            if (GRANTS) {
                Granted.fire(role, user, session);
            }
        }
    }

    private RoleModel role(String name) {
        RoleModel role = realm.getRole(name);
        return role == null ? realm.addRole(name) : role;
    }

    private void join(UserEntity owner, UserModel user, List<String> paths, Store store) {
        if (paths == null) {
            return;
        }
        for (String path : paths) {
            GroupModel group = groups.computeIfAbsent(path, this::group);
            UserGroupMembershipEntity entity = new UserGroupMembershipEntity();
            entity.setUser(owner);
            entity.setGroupId(group.getId());
            entity.setMembershipType(MembershipType.UNMANAGED);
            store.add(entity);
            session.getKeycloakSessionFactory().publish(new Joined(session, realm, user, group));
        }
    }

    private GroupModel group(String path) {
        return Objects.requireNonNull(KeycloakModelUtils.findGroupByPath(session, realm, path), path);
    }

    /** Whether every row of a user is known on the server. */
    static boolean known(KeycloakSession session, EntityManager em) {
        String[] version = Version.VERSION.split("[.]");
        return version.length > 1 && version[0].equals("26") && version[1].matches("[0-9]") && Integer.parseInt(version[1]) <= NEWEST
                && session.getProvider(UserProvider.class).getClass() == JpaUserProvider.class
                && holds(em, UserEntity.class, "id", "username", "firstName", "lastName", "email", "emailConstraint", "emailVerified",
                        "enabled", "realmId", "createdTimestamp", "attributes",
                        "requiredActions", "credentials", "federatedIdentities", "federationLink", "serviceAccountClientLink", "notBefore",
                        STAMPED ? "lastModifiedTimestamp" : "")
                && holds(em, UserAttributeEntity.class, "id", "user", "name", "value", "longValue", "longValueHash", "longValueHashLowerCase")
                && holds(em, UserRequiredActionEntity.class, "user", "action")
                && holds(em, CredentialEntity.class, "id", "user", "type", "userLabel", "createdDate", "credentialData", "secretData",
                        "priority", "salt", "version")
                && holds(em, FederatedIdentityEntity.class, "user", "realmId", "identityProvider", "userId", "userName", "token")
                && holds(em, UserRoleMappingEntity.class, "user", "roleId")
                && holds(em, UserGroupMembershipEntity.class, "user", "groupId", "membershipType");
    }

    /** Whether the rows of a kind hold nothing but this. */
    private static boolean holds(EntityManager em, Class<?> kind, String... known) {
        Set<String> names = Set.of(known);
        for (Attribute<?, ?> attribute : em.getMetamodel().entity(kind).getAttributes()) {
            if (!names.contains(attribute.getName())) {
                return false;
            }
        }
        return true;
    }

    private static boolean has(String type, String method) {
        try {
            for (Method m : Class.forName(type, false, Direct.class.getClassLoader()).getMethods()) {
                if (m.getName().equals(method)) {
                    return true;
                }
            }
            return false;
        } catch (ClassNotFoundException e) {
            return false;
        }
    }

    /** Apart, so that a server without the class never looks for it. */
    private static final class Granted {

        static void fire(RoleModel role, UserModel user, KeycloakSession session) {
            RoleModel.RoleGrantedEvent.fire(role, user, session);
        }
    }

    abstract static class Event implements ProviderEvent {

        private final KeycloakSession session;
        private final RealmModel realm;
        private final UserModel user;

        Event(KeycloakSession session, RealmModel realm, UserModel user) {
            this.session = session;
            this.realm = realm;
            this.user = user;
        }

        public KeycloakSession getKeycloakSession() {
            return session;
        }

        public RealmModel getRealm() {
            return realm;
        }

        public UserModel getUser() {
            return user;
        }
    }

    /** Not through the interface's own method, whose parameters differ by version. */
    private static final class Joined extends Event implements GroupModel.GroupMemberJoinEvent {

        private final GroupModel group;

        Joined(KeycloakSession session, RealmModel realm, UserModel user, GroupModel group) {
            super(session, realm, user);
            this.group = group;
        }

        @Override
        public GroupModel getGroup() {
            return group;
        }
    }

    private static final class Linked extends Event implements FederatedIdentityModel.FederatedIdentityCreatedEvent {

        private final FederatedIdentityModel link;

        Linked(KeycloakSession session, RealmModel realm, UserModel user, FederatedIdentityModel link) {
            super(session, realm, user);
            this.link = link;
        }

        @Override
        public FederatedIdentityModel getFederatedIdentity() {
            return link;
        }
    }
}
