package io.github.stetl.keycloak.bulk;

import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.ws.rs.ServiceUnavailableException;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.events.admin.OperationType;
import org.keycloak.events.admin.ResourceType;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionTask;
import org.keycloak.models.RealmModel;
import org.keycloak.models.utils.KeycloakModelUtils;
import org.keycloak.representations.idm.UserRepresentation;
import org.keycloak.services.resources.admin.AdminEventBuilder;
import org.keycloak.storage.DatastoreProvider;
import org.keycloak.storage.ExportImportManager;

/**
 * Creates users through the routine that partialImport uses. Two things make that slow there: a look-up or two for each
 * user, and a session that grows, all of which each look-up compares with what the database has. Here nothing is looked
 * up as long as nothing is in the way, and the session is emptied now and then.
 */
final class Loader {

    static final class Entry {

        final int index;
        final UserRepresentation user;
        final boolean covered;

        /** covered: {@link Direct#covers} the user. */
        Entry(int index, UserRepresentation user, boolean covered) {
            this.index = index;
            this.user = user;
            this.covered = covered;
        }
    }

    /** Users in the session at a time; the time for all grows with it. */
    private static final int PART = 50;

    /** The type of LDAP and other sources of users, a class that providers cannot have at their build. */
    private static final String DIRECTORY = "org.keycloak.storage.UserStorageProvider";

    private final KeycloakSession session;
    private final String realmId;
    private final AdminEventBuilder event;
    private final Outcome[] outcomes;

    Loader(KeycloakSession session, String realmId, AdminEventBuilder event, Outcome[] outcomes) {
        this.session = session;
        this.realmId = realmId;
        this.event = event;
        this.outcomes = outcomes;
    }

    // Classes with names, here and below: what compilers make of others differs from one JDK to the next.

    private static final class Job implements KeycloakSessionTask {

        private final Loader loader;
        private final List<Entry> entries;
        private final boolean unseen;

        Job(Loader loader, List<Entry> entries, boolean unseen) {
            this.loader = loader;
            this.entries = entries;
            this.unseen = unseen;
        }

        @Override
        public void run(KeycloakSession own) {
            loader.create(own, entries, unseen);
        }
    }

    /** Creates the users of which nothing has to be found again before it is flushed, and leaves the others. */
    private static final class Part implements Runnable {

        private final Direct direct;
        private final ExportImportManager manager;
        private final RealmModel realm;
        private final List<Entry> part;
        private final List<Entry> left = new ArrayList<>();

        Part(Direct direct, ExportImportManager manager, RealmModel realm, List<Entry> part) {
            this.direct = direct;
            this.manager = manager;
            this.realm = realm;
            this.part = part;
        }

        @Override
        public void run() {
            for (Entry e : part) {
                if (direct != null && e.covered && direct.create(e.user)) {
                    continue;
                }
                if (plain(e)) {
                    manager.createUser(realm, e.user);
                } else {
                    left.add(e);
                }
            }
        }
    }

    /** What keeps a user from being tried, null if nothing does. */
    static Outcome problem(UserRepresentation user) {
        if (user == null || user.getId() == null || user.getUsername() == null) {
            return Outcome.refused(400, "a user needs an id and a username");
        }
        user.setRealmRoles(once(user.getRealmRoles()));
        user.setGroups(once(user.getGroups()));
        return null;
    }

    private static List<String> once(List<String> names) {
        if (names == null) {
            return null;
        }
        return new ArrayList<>(new LinkedHashSet<>(names));
    }

    /**
     * One transaction for all, first without a look at who is there: callers have looked, and the database's own
     * constraints refuse the others.
     */
    void load(List<Entry> entries) {
        if (!entries.isEmpty() && attempt(entries, true) != null) {
            look(entries);
        }
    }

    /** One transaction for all that are not there; where that fails, one for each half, down to the users at fault. */
    private void look(List<Entry> entries) {
        Throwable failure = attempt(entries, false);
        if (failure == null) {
            return;
        }
        if (entries.size() == 1) {
            outcomes[entries.get(0).index] = Refusal.of(failure);
            return;
        }
        int half = entries.size() / 2;
        look(entries.subList(0, half));
        look(entries.subList(half, entries.size()));
    }

    /** Returns why nothing was created, null after success. */
    private Throwable attempt(List<Entry> entries, boolean unseen) {
        try {
            KeycloakModelUtils.runJobInTransaction(
                    session.getKeycloakSessionFactory(), session.getContext(), new Job(this, entries, unseen));
            return null;
        } catch (RuntimeException e) {
            if (Refusal.trouble(e)) {
                throw new ServiceUnavailableException("the database cannot take users at the moment");
            }
            if (unseen) {
                Rows.note(e);
            }
            return e;
        } catch (LinkageError e) {
            if (!unseen) {
                throw e;
            }
            Direct.giveUp(e);
            return e;
        }
    }

    private void create(KeycloakSession own, List<Entry> entries, boolean unseen) {
        RealmModel realm = own.realms().getRealm(realmId);
        own.getContext().setRealm(realm);
        EntityManager em = own.getProvider(JpaConnectionProvider.class).getEntityManager();
        ExportImportManager manager = own.getProvider(DatastoreProvider.class).getExportImportManager();
        boolean directories = realm.getComponentsStream(realmId, DIRECTORY).findAny().isPresent();
        Direct direct = unseen ? Direct.on(own, realm, em) : null; // what fails is to fail in the server's words
        List<Entry> missing = entries;
        if (unseen && !directories) {
            for (Entry e : entries) {
                outcomes[e.index] = Outcome.CREATED; // unless the transaction fails
            }
        } else {
            missing = missing(own, realm, em, entries, directories);
        }
        for (int first = 0; first < missing.size(); first += PART) {
            List<Entry> part = missing.subList(first, Math.min(first + PART, missing.size()));
            Part work = new Part(direct, manager, realm, part);
            Batch.run(own, em, work);
            for (Entry e : work.left) {
                manager.createUser(realm, e.user);
            }
            em.flush();
            em.clear();
            if (direct != null) {
                direct.finish();
            }
        }
        if (missing.isEmpty()) {
            return;
        }
        AdminEventBuilder created = event.clone(own).operation(OperationType.CREATE).resource(ResourceType.USER);
        for (Entry e : missing) {
            created.resourcePath("users", e.user.getId());
            if (realm.isAdminEventsDetailsEnabled()) {
                created.representation(withoutCredentials(e.user)); // nobody should read hashes in an event
            }
            created.success();
        }
    }

    /** Whether nothing of the user has to be found again before it is flushed, as the first of two credentials has. */
    private static boolean plain(Entry e) {
        return e.user.getCredentials() == null || e.user.getCredentials().size() <= 1;
    }

    /** Sets the outcomes of those that are there, and returns the others. */
    private List<Entry> missing(KeycloakSession own, RealmModel realm, EntityManager em, List<Entry> entries, boolean directories) {
        boolean addressesAreUnique = !realm.isDuplicateEmailsAllowed();
        Set<String> ids = new HashSet<>();
        for (Entry e : entries) {
            ids.add(e.user.getId());
        }
        // Ids are unique over all realms.
        List<Object[]> holders = em.createQuery("select u.id, u.realmId from UserEntity u where u.id in :ids", Object[].class)
                .setParameter("ids", ids).getResultList();
        Set<String> here = new HashSet<>(), elsewhere = new HashSet<>();
        for (Object[] holder : holders) {
            (realmId.equals(holder[1]) ? here : elsewhere).add((String) holder[0]);
        }
        List<Entry> missing = new ArrayList<>(entries.size());
        for (Entry e : entries) {
            if (here.contains(e.user.getId()) || taken(em, "username", name(e.user))
                    || addressesAreUnique && taken(em, "email", address(e.user))
                    || directories && inDirectory(own, realm, e.user, addressesAreUnique)) {
                outcomes[e.index] = Outcome.EXISTS;
            } else if (elsewhere.contains(e.user.getId())) {
                outcomes[e.index] = Outcome.refused(409, "the id belongs to a user of another realm of this server");
            } else {
                outcomes[e.index] = Outcome.CREATED; // unless the transaction fails
                missing.add(e);
            }
        }
        return missing;
    }

    /** One by one: for a list H2 does not use an index on two columns, and reads the whole realm. */
    private boolean taken(EntityManager em, String field, String value) {
        return value != null && !em.createQuery(
                        "select u.id from UserEntity u where u.realmId = :realm and u." + field + " = :value", String.class)
                .setParameter("realm", realmId).setParameter("value", value).setMaxResults(1).getResultList().isEmpty();
    }

    /** Asks the realm's directories, such as LDAP, which have to be asked for each user. */
    private static boolean inDirectory(KeycloakSession own, RealmModel realm, UserRepresentation user, boolean byAddress) {
        return own.users().getUserByUsername(realm, name(user)) != null
                || byAddress && address(user) != null && own.users().getUserByEmail(realm, address(user)) != null;
    }

    private static String name(UserRepresentation user) {
        return user.getUsername().toLowerCase();
    }

    private static String address(UserRepresentation user) {
        return user.getEmail() == null || user.getEmail().isBlank() ? null : user.getEmail().toLowerCase();
    }

    private static UserRepresentation withoutCredentials(UserRepresentation user) {
        user.setCredentials(null);
        return user;
    }
}
