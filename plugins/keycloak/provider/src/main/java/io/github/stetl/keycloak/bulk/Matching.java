package io.github.stetl.keycloak.bulk;

import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

import jakarta.persistence.EntityManager;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.models.RoleModel;

/**
 * Says which accounts are exactly what the caller expects, by a digest of all that a load sets and a read shows: nothing of
 * them is sent, and no user is made of their rows. Accounts of a user federation never are, since it may show them otherwise.
 */
final class Matching {

    private final RealmModel realm;
    private final EntityManager em;
    private final Names names;

    Matching(KeycloakSession session, RealmModel realm) {
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
        this.names = new Names(session, realm);
    }

    /** How many characters of a digest a question has at least: 128 bits. */
    private static final int SHORTEST = 32;

    /**
     * Each question has the beginning of the digest that an account should have, a dot, and the id of the account; returned
     * are the ids of those that have it.
     */
    List<String> of(List<String> questions) {
        Map<String, String> expected = new LinkedHashMap<>();
        for (String question : questions) {
            int dot = question.indexOf('.');
            if (dot >= SHORTEST) {
                expected.put(question.substring(dot + 1), question.substring(0, dot));
            }
        }
        List<String> equal = new ArrayList<>(expected.size());
        if (!expected.isEmpty()) {
            for (Map.Entry<String, List<byte[]>> account : accounts(expected.keySet()).entrySet()) {
                if (digest(account.getValue()).startsWith(expected.get(account.getKey()))) {
                    equal.add(account.getKey());
                }
            }
        }
        return equal;
    }

    private Map<String, List<byte[]>> accounts(Set<String> ids) {
        Map<String, List<byte[]>> accounts = new HashMap<>();
        for (Object[] row : em.createQuery("select u.id, u.username, u.email, u.emailVerified, u.firstName, u.lastName, u.enabled"
                        + " from UserEntity u where u.realmId = :realm and u.id in :ids and u.federationLink is null", Object[].class)
                .setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList()) {
            List<byte[]> parts = new ArrayList<>();
            parts.add(part("user", row[1], row[2], row[3], row[4], row[5], row[6]));
            accounts.put((String) row[0], parts);
        }
        if (accounts.isEmpty()) {
            return accounts;
        }
        Set<String> found = accounts.keySet();
        for (Object[] row : rows(found, "select a.user.id, a.name, a.value, a.longValue from UserAttributeEntity a where a.user.id in :ids")) {
            accounts.get(row[0]).add(part("attribute", row[1], row[2] == null ? row[3] : row[2]));
        }
        for (Object[] row : rows(found, "select a.user.id, a.action from UserRequiredActionEntity a where a.user.id in :ids")) {
            accounts.get(row[0]).add(part("action", row[1]));
        }
        for (Object[] row : rows(found, "select c.user.id, c.id, c.type, c.userLabel, c.createdDate from CredentialEntity c where c.user.id in :ids")) {
            accounts.get(row[0]).add(part("credential", row[1], row[2], row[3], row[4]));
        }
        String usual = realm.getDefaultRole() == null ? null : realm.getDefaultRole().getId();
        for (Object[] row : rows(found, "select m.user.id, m.roleId from UserRoleMappingEntity m where m.user.id in :ids")) {
            RoleModel role = names.role((String) row[1]);
            if (role != null && !role.getId().equals(usual)) {
                accounts.get(row[0]).add(part("role", role.getName()));
            }
        }
        for (Object[] row : rows(found, "select m.user.id, m.groupId from UserGroupMembershipEntity m where m.user.id in :ids")) {
            String path = names.path((String) row[1]);
            if (path != null) {
                accounts.get(row[0]).add(part("group", path));
            }
        }
        for (Object[] row : rows(found, "select l.user.id, l.identityProvider, l.userId from FederatedIdentityEntity l where l.user.id in :ids")) {
            if (names.shown((String) row[1])) {
                accounts.get(row[0]).add(part("link", row[1], row[2]));
            }
        }
        return accounts;
    }

    private List<Object[]> rows(Set<String> ids, String query) {
        return em.createQuery(query, Object[].class).setParameter("ids", ids).getResultList();
    }

    /** Each value with its length, so that no two parts look alike. */
    private static byte[] part(String kind, Object... values) {
        StringBuilder text = new StringBuilder(kind);
        for (Object value : values) {
            String shown = value == null ? "" : value.toString();
            text.append(' ').append(shown.getBytes(StandardCharsets.UTF_8).length).append(':').append(shown);
        }
        return text.append('\n').toString().getBytes(StandardCharsets.UTF_8);
    }

    private static String digest(List<byte[]> parts) {
        parts.sort(Arrays::compareUnsigned);
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            parts.forEach(digest::update);
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
