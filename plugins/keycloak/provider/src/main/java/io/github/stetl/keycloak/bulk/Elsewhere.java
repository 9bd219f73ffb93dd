package io.github.stetl.keycloak.bulk;

import java.util.List;

import jakarta.persistence.EntityManager;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;

/**
 * Says which ids are taken in other realms of the server, where they are unique over all realms. Nothing else of these
 * accounts is told, and no more than an attempt to create them would tell.
 */
final class Elsewhere {

    private final RealmModel realm;
    private final EntityManager em;

    Elsewhere(KeycloakSession session, RealmModel realm) {
        this.realm = realm;
        this.em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
    }

    List<String> taken(List<String> ids) {
        if (ids.isEmpty()) {
            return List.of();
        }
        return em.createQuery("select u.id from UserEntity u where u.realmId <> :realm and u.id in :ids", String.class)
                .setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList();
    }
}
