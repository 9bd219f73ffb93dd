package io.github.stetl.keycloak.bulk;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.persistence.LockModeType;
import jakarta.ws.rs.ServiceUnavailableException;

import com.fasterxml.jackson.databind.JsonNode;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionTask;
import org.keycloak.models.RealmModel;
import org.keycloak.models.UserManager;
import org.keycloak.models.UserModel;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keycloak.representations.idm.UserRepresentation;
import org.keycloak.services.resources.admin.AdminEventBuilder;

/**
 * Deletes accounts that a load has made, each only while it is what the caller has looked at: the look and the deletion are
 * one transaction, in which nobody else writes to the account.
 */
final class Deletion {

    /** An account that is to go, at its place in the answer. */
    private static final class Entry {

        private final int index;
        private final String id;
        private final String digest;

        Entry(int index, String id, String digest) {
            this.index = index;
            this.id = id;
            this.digest = digest;
        }
    }

    private static final class Job implements KeycloakSessionTask {

        private final Deletion deletion;
        private final List<Entry> entries;

        Job(Deletion deletion, List<Entry> entries) {
            this.deletion = deletion;
            this.entries = entries;
        }

        @Override
        public void run(KeycloakSession own) {
            try {
                deletion.delete(own, entries);
            } catch (IOException e) {
                throw new UncheckedIOException(e);
            }
        }
    }

    private final KeycloakSession session;
    private final String realmId;
    private final AdminEventBuilder event;
    private final Outcome[] outcomes;

    Deletion(KeycloakSession session, String realmId, AdminEventBuilder event, int accounts) {
        this.session = session;
        this.realmId = realmId;
        this.event = event;
        this.outcomes = new Outcome[accounts];
    }

    /** Each account has an id and the digest that a {@link Snapshot} has shown. */
    Outcome[] delete(List<JsonNode> accounts) {
        List<Entry> entries = new ArrayList<>(accounts.size());
        Set<String> ids = new LinkedHashSet<>();
        for (int i = 0; i < outcomes.length; i++) {
            String id = accounts.get(i).path("id").asText(), digest = accounts.get(i).path("digest").asText();
            if (id.isEmpty() || digest.isEmpty() || !ids.add(id)) {
                outcomes[i] = Outcome.refused(400, "an account needs an id, which comes once, and a digest");
            } else {
                entries.add(new Entry(i, id, digest));
            }
        }
        attempt(entries);
        return outcomes;
    }

    /** One transaction for all; where that fails, one for each half, down to the accounts at fault. */
    private void attempt(List<Entry> entries) {
        if (entries.isEmpty()) {
            return;
        }
        try {
            KeycloakModelUtils.runJobInTransaction(session.getKeycloakSessionFactory(), session.getContext(), new Job(this, entries));
        } catch (RuntimeException e) {
            if (Refusal.trouble(e)) {
                throw new ServiceUnavailableException("the database cannot delete users at the moment");
            }
            if (entries.size() == 1) {
                outcomes[entries.get(0).index] = Refusal.of(e);
                return;
            }
            int half = entries.size() / 2;
            attempt(entries.subList(0, half));
            attempt(entries.subList(half, entries.size()));
        } catch (LinkageError e) {
            if (Removal.givenUp()) {
                throw e;
            }
            Removal.giveUp(e);
            attempt(entries);
        }
    }

    private void delete(KeycloakSession own, List<Entry> entries) throws IOException {
        RealmModel realm = own.realms().getRealm(realmId);
        own.getContext().setRealm(realm);
        EntityManager em = own.getProvider(JpaConnectionProvider.class).getEntityManager();
        List<String> ids = new ArrayList<>(entries.size());
        for (Entry e : entries) {
            ids.add(e.id);
        }
        // Nobody changes or adds to them from here on. In one order, so that two requests do not wait for each other.
        em.createQuery("select u from UserEntity u where u.realmId = :realm and u.id in :ids order by u.id")
                .setParameter("realm", realmId).setParameter("ids", ids).setLockMode(LockModeType.PESSIMISTIC_WRITE).getResultList();
        Map<String, Snapshot.State> states = new Snapshot(own, realm).of(ids);
        em.clear();
        List<Entry> going = new ArrayList<>(entries.size());
        for (Entry e : entries) {
            Snapshot.State state = states.get(e.id);
            if (state == null) {
                outcomes[e.index] = Outcome.refused(404, "there is no such account");
            } else if (!state.ours) {
                outcomes[e.index] = Outcome.refused(403, "nothing shows that a load has made the account");
            } else if (!state.digest.equals(e.digest)) {
                outcomes[e.index] = Outcome.refused(412, "the account has changed since it was looked at");
            } else {
                going.add(e);
            }
        }
        Set<String> together = together(own, realm, em, going, states);
        AdminEventBuilder deleted = event.clone(own).operation(OperationType.DELETE).resource(ResourceType.USER);
        for (Entry e : going) {
            if (!together.contains(e.id) && !alone(own, realm, em, e.id)) {
                outcomes[e.index] = Outcome.refused(500, "the server does not delete the account");
                continue;
            }
            UserRepresentation shown = new UserRepresentation();
            shown.setId(e.id);
            shown.setUsername(states.get(e.id).username);
            deleted.resourcePath("users", e.id).representation(shown).success();
            outcomes[e.index] = Outcome.DELETED; // unless the transaction fails
        }
    }

    /** Deletes those of which the server need not tidy up anything, and returns them. */
    private Set<String> together(KeycloakSession own, RealmModel realm, EntityManager em, List<Entry> going, Map<String, Snapshot.State> states) {
        Set<String> ids = new LinkedHashSet<>();
        Removal removal = going.isEmpty() ? null : Removal.on(own, realm, em);
        if (removal == null) {
            return ids;
        }
        for (Entry e : going) {
            if (states.get(e.id).plain()) {
                ids.add(e.id);
            }
        }
        if (!ids.isEmpty()) {
            ids.removeAll(removal.more(ids));
        }
        if (!ids.isEmpty()) {
            removal.delete(ids, states);
            em.clear();
        }
        return ids;
    }

    private static boolean alone(KeycloakSession own, RealmModel realm, EntityManager em, String id) {
        UserModel user = own.users().getUserById(realm, id);
        if (user == null || !new UserManager(own).removeUser(realm, user)) {
            return false;
        }
        em.flush();
        em.clear();
        return true;
    }
}
