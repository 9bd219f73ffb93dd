package io.github.stetl.keycloak.bulk;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

import jakarta.persistence.EntityManager;

import com.fasterxml.jackson.databind.JsonNode;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.util.JsonSerialization;

/**
 * Says of credentials whether they are the ones that a caller means, by fingerprint: nothing of them leaves the server. A
 * password whose hash the server has exchanged since is neither equal nor another one, and is left out.
 */
final class Comparison {

    private static final String PASSWORD = "password";

    private final RealmModel realm;
    private final EntityManager em;

    Comparison(KeycloakSession session, RealmModel realm) {
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
    }

    /** Each question has the id of an account, and by credential id ("password" for that) its data and a fingerprint. */
    List<Map<String, Object>> answer(List<JsonNode> questions) throws IOException {
        List<String> ids = new ArrayList<>(questions.size());
        for (JsonNode question : questions) {
            ids.add(question.path("id").asText());
        }
        Map<String, Object[]> stored = new HashMap<>();
        for (Object[] row : em.createQuery("select c.user.id, c.id, c.type, c.credentialData, c.secretData from CredentialEntity c"
                        + " where c.user.realmId = :realm and c.user.id in :ids", Object[].class)
                .setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList()) {
            stored.put(row[0] + " " + (PASSWORD.equals(row[2]) ? PASSWORD : row[1]), row);
        }
        List<Map<String, Object>> answers = new ArrayList<>(questions.size());
        for (JsonNode question : questions) {
            Map<String, Object> equal = new LinkedHashMap<>();
            for (Map.Entry<String, JsonNode> asked : question.path("credentials").properties()) {
                Object[] row = stored.get(question.path("id").asText() + " " + asked.getKey());
                if (row != null && same(asked.getValue().path("data").asText(), (String) row[3])) {
                    equal.put(asked.getKey(), fingerprint((String) row[4]).equals(asked.getValue().path("fingerprint").asText()));
                }
            }
            answers.add(Map.of("id", question.path("id").asText(), "equal", equal));
        }
        return answers;
    }

    private static boolean same(String sent, String stored) throws IOException {
        return stored != null && JsonSerialization.mapper.readTree(sent).equals(JsonSerialization.mapper.readTree(stored));
    }

    /** Of what a secret consists of, in whatever order the server keeps it. */
    static String fingerprint(String secret) throws IOException {
        JsonNode parts = JsonSerialization.mapper.readTree(secret == null ? "{}" : secret);
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            digest.update((parts.path("value").asText("") + "\n" + parts.path("salt").asText("")).getBytes(StandardCharsets.UTF_8));
            return HexFormat.of().formatHex(digest.digest());
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
