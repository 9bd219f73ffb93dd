package io.github.stetl.keycloak.bulk;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import jakarta.persistence.EntityManager;

import com.fasterxml.jackson.databind.JsonNode;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;

/** Says which accounts of the realm have the ids, user names and addresses that others are to get. */
final class Holders {

    private final RealmModel realm;
    private final EntityManager em;

    Holders(KeycloakSession session, RealmModel realm) {
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
    }

    /** For each question, in order, the ids of those who have what it names. */
    List<Map<String, String>> find(List<JsonNode> questions) {
        List<Map<String, String>> answers = new ArrayList<>(questions.size());
        for (JsonNode question : questions) {
            Map<String, String> answer = new HashMap<>();
            for (String field : List.of("id", "username", "email")) {
                String value = question.path(field).asText();
                if (value.isEmpty()) {
                    continue;
                }
                // One by one: for a list H2 does not use an index on two columns, and reads the whole realm.
                List<String> found = em.createQuery(
                                "select u.id from UserEntity u where u.realmId = :realm and u." + field + " = :value", String.class)
                        .setParameter("realm", realm.getId()).setParameter("value", field.equals("id") ? value : value.toLowerCase())
                        .setMaxResults(1).getResultList();
                if (!found.isEmpty()) {
                    answer.put(field, found.get(0));
                }
            }
            answers.add(answer);
        }
        return answers;
    }
}
