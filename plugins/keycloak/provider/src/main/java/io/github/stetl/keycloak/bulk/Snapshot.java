package io.github.stetl.keycloak.bulk;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Collections;
import java.util.HashMap;
import java.util.HashSet;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;

import jakarta.persistence.EntityManager;
import jakarta.persistence.metamodel.Attribute;
import jakarta.persistence.metamodel.EntityType;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.ClientModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;
import org.keycloak.models.UserModel;
import org.keycloak.models.UserSessionModel;
import org.keycloak.models.jpa.entities.UserEntity;

/**
 * What was done to accounts since they were loaded, as far as it is not read with them: roles of clients, consents, sessions,
 * and rows that hang on them elsewhere. With it goes a digest of all that an account is, so that a {@link Deletion} takes
 * only what was looked at.
 */
final class Snapshot {

    /** Whose rows are read one by one. What else hangs on an account is counted. */
    private static final Set<String> READ = Set.of("UserEntity", "UserAttributeEntity", "UserRequiredActionEntity", "CredentialEntity",
            "FederatedIdentityEntity", "UserRoleMappingEntity", "UserGroupMembershipEntity", "UserConsentEntity");

    /** Names under which entities keep the id of a user without a relation to it. */
    private static final Set<String> BY_ID = Set.of("userId", "owner", "requester");

    /** What keeps user ids and is nothing that hangs on an account: who did what, and sessions, which are asked for. */
    private static final Set<String> RECORDS = Set.of("EventEntity", "AdminEventEntity", "PersistentUserSessionEntity");

    /** One account. */
    static final class State {

        final Set<String> clients = new TreeSet<>();
        final Set<String> consents = new TreeSet<>();
        final Set<String> others = new TreeSet<>();
        final List<String> groups = new ArrayList<>();
        String username;
        int sessions;
        int notBefore;
        boolean ours;
        String digest;

        private final List<String> rows = new ArrayList<>();

        private void add(Object... row) {
            rows.add(Arrays.deepToString(row));
        }

        Map<String, Object> shown() {
            Map<String, Object> object = new LinkedHashMap<>();
            object.put("digest", digest);
            object.put("marked", ours);
            object.put("clients", clients);
            object.put("consents", consents);
            object.put("others", others);
            object.put("sessions", sessions);
            object.put("notBefore", notBefore);
            return object;
        }

        /** Whether nothing hangs on the account that has to be tidied up after it. */
        boolean plain() {
            return others.isEmpty() && consents.isEmpty() && sessions == 0;
        }
    }

    private final KeycloakSession session;
    private final RealmModel realm;
    private final EntityManager em;
    private final Map<String, RoleModel> roles = new HashMap<>();

    Snapshot(KeycloakSession session, RealmModel realm) {
        this.session = session;
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
    }

    /** The accounts of the realm with these ids, without those that are not there. */
    Map<String, State> of(Collection<String> wanted) throws IOException {
        Map<String, State> states = new HashMap<>();
        Set<String> ids = new HashSet<>(wanted);
        if (ids.isEmpty()) {
            return states;
        }
        for (Object[] row : em.createQuery("select u.id, u.username, u.email, u.firstName, u.lastName, u.enabled, u.emailVerified,"
                        + " u.createdTimestamp, u.notBefore, u.federationLink, u.serviceAccountClientLink"
                        + " from UserEntity u where u.realmId = :realm and u.id in :ids", Object[].class)
                .setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList()) {
            State state = new State();
            state.add("user", row);
            state.username = (String) row[1];
            state.notBefore = (Integer) row[8];
            if (row[9] != null) {
                state.others.add("user federation");
            }
            if (row[10] != null) {
                state.others.add("service account");
            }
            states.put((String) row[0], state);
        }
        if (states.isEmpty()) {
            return states;
        }
        ids.retainAll(states.keySet());
        credentials(states, ids);
        for (Object[] row : rows(ids, "select a.user.id, a.name, a.value, a.longValueHash from UserAttributeEntity a where a.user.id in :ids")) {
            states.get(row[0]).add("attribute", row);
        }
        for (Object[] row : rows(ids, "select a.user.id, a.action from UserRequiredActionEntity a where a.user.id in :ids")) {
            states.get(row[0]).add("action", row);
        }
        for (Object[] row : rows(ids, "select l.user.id, l.identityProvider, l.userId, l.userName from FederatedIdentityEntity l"
                + " where l.user.id in :ids")) {
            states.get(row[0]).add("link", row);
        }
        for (Object[] row : rows(ids, "select m.user.id, m.groupId from UserGroupMembershipEntity m where m.user.id in :ids")) {
            states.get(row[0]).add("group", row);
            states.get(row[0]).groups.add((String) row[1]);
        }
        for (Object[] row : rows(ids, "select m.user.id, m.roleId from UserRoleMappingEntity m where m.user.id in :ids")) {
            states.get(row[0]).add("role", row);
            RoleModel role = role((String) row[1]);
            if (role != null && role.isClientRole()) {
                states.get(row[0]).clients.add(client(role.getContainerId()));
            }
        }
        for (Object[] row : rows(ids, "select c.user.id, c.id, c.clientId, c.externalClientId, c.lastUpdatedDate from UserConsentEntity c"
                + " where c.user.id in :ids")) {
            states.get(row[0]).add("consent", row);
            states.get(row[0]).consents.add(row[2] == null ? String.valueOf(row[3]) : client((String) row[2]));
        }
        others(states, ids);
        sessions(states, ids);
        for (State state : states.values()) {
            state.digest = digest(state.rows);
        }
        return states;
    }

    /** Whether all sessions of users have rows in the database. */
    static boolean storesSessions(KeycloakSession session) {
        return session.sessions().getClass().getSimpleName().equals("PersistentUserSessionProvider");
    }

    private void credentials(Map<String, State> states, Set<String> ids) throws IOException {
        for (Object[] row : rows(ids, "select c.user.id, c.id, c.type, c.userLabel, c.createdDate, c.credentialData, c.secretData"
                + " from CredentialEntity c where c.user.id in :ids")) {
            State state = states.get(row[0]);
            row[6] = Comparison.fingerprint((String) row[6]);
            state.add("credential", row);
            state.ours = state.ours || Mark.on((String) row[0], (String) row[1]);
        }
    }

    /** Counts what else hangs on accounts, also of kinds that nobody here has heard of. */
    private void others(Map<String, State> states, Set<String> ids) {
        for (EntityType<?> kind : em.getMetamodel().getEntities()) {
            if (READ.contains(kind.getName()) || RECORDS.contains(kind.getName()) || kind.getName().startsWith("Federated")) {
                continue;
            }
            for (Attribute<?, ?> attribute : kind.getAttributes()) {
                String path = null;
                if (!attribute.isCollection() && attribute.getJavaType() == UserEntity.class) {
                    path = "x." + attribute.getName() + ".id";
                } else if (attribute.getJavaType() == String.class && BY_ID.contains(attribute.getName())) {
                    path = "x." + attribute.getName();
                }
                if (path == null) {
                    continue;
                }
                for (Object[] row : rows(ids, "select " + path + ", count(*) from " + kind.getName() + " x where " + path
                        + " in :ids group by " + path)) {
                    states.get(row[0]).add(kind.getName(), row);
                    states.get(row[0]).others.add(kind.getName().replace("Entity", ""));
                }
            }
        }
    }

    private void sessions(Map<String, State> states, Set<String> ids) {
        if (storesSessions(session)) {
            for (Object[] row : rows(ids, "select s.userId, s.userSessionId, s.offline from PersistentUserSessionEntity s where s.userId in :ids")) {
                states.get(row[0]).sessions++;
                states.get(row[0]).add("session", row);
            }
            return;
        }
        for (Map.Entry<String, State> entry : states.entrySet()) {
            sessions(entry.getKey(), entry.getValue());
        }
    }

    private void sessions(String id, State state) {
        UserModel user = session.users().getUserById(realm, id);
        if (user == null) {
            return;
        }
        try (Stream<UserSessionModel> online = session.sessions().getUserSessionsStream(realm, user);
                Stream<UserSessionModel> offline = session.sessions().getOfflineUserSessionsStream(realm, user)) {
            Stream.concat(online, offline).forEach(s -> {
                state.sessions++;
                state.add("session", s.getId(), s.isOffline());
            });
        }
    }

    private List<Object[]> rows(Set<String> ids, String query) {
        return em.createQuery(query, Object[].class).setParameter("ids", ids).getResultList();
    }

    private RoleModel role(String id) {
        if (!roles.containsKey(id)) {
            roles.put(id, realm.getRoleById(id));
        }
        return roles.get(id);
    }

    private String client(String id) {
        ClientModel client = realm.getClientById(id);
        return client == null ? id : client.getClientId();
    }

    private static String digest(List<String> rows) {
        Collections.sort(rows);
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            for (String row : rows) {
                digest.update(row.getBytes(StandardCharsets.UTF_8));
                digest.update((byte) '\n');
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
