package io.github.stetl.keycloak.bulk;

import jakarta.persistence.EntityManager;
import jakarta.persistence.FlushModeType;

import org.keycloak.connections.jpa.support.EntityManagers;
import org.keycloak.models.KeycloakSession;

/** Keeps the server from flushing for each row, and before each look-up, where it can be asked to. */
final class Batch {

    private static final boolean AVAILABLE = available();

    private Batch() {}

    static void run(KeycloakSession session, EntityManager em, Runnable work) {
        if (AVAILABLE) {
            Quiet.run(session, work);
            return;
        }
        FlushModeType usual = em.getFlushMode();
        em.setFlushMode(FlushModeType.COMMIT);
        try {
            work.run();
        } finally {
            em.setFlushMode(usual);
        }
    }

    private static boolean available() {
        try {
            Class.forName("org.keycloak.connections.jpa.support.EntityManagers", false, Batch.class.getClassLoader())
                    .getMethod("runInBatch", KeycloakSession.class, Runnable.class, boolean.class);
            return true;
        } catch (ReflectiveOperationException e) {
            return false;
        }
    }

    /** Apart, so that a server without the class never looks for it. */
    private static final class Quiet {

        static void run(KeycloakSession session, Runnable work) {
            EntityManagers.runInBatch(session, work, false);
        }
    }
}
