package io.github.stetl.keycloak.bulk;

import java.sql.SQLException;
import java.sql.SQLRecoverableException;
import java.sql.SQLTransientException;
import java.util.Set;

import org.keycloak.models.ModelDuplicateException;

/** What a failure says about the user whose creation failed. */
final class Refusal {

    /** Classes of SQL states that tell of the database's state rather than of what was to be written. */
    private static final Set<String> TROUBLE = Set.of("08", "40", "53", "57", "58", "HY");

    private Refusal() {}

    /** Whether the database is in trouble, so that the same user may be fine later. */
    static boolean trouble(Throwable failure) {
        SQLException e = find(failure, SQLException.class);
        return e != null && (e instanceof SQLTransientException || e instanceof SQLRecoverableException
                || TROUBLE.contains(state(e).substring(0, 2)));
    }

    /** The server's words; not the database's, which may repeat a row with its secrets. */
    static Outcome of(Throwable failure) {
        SQLException e = find(failure, SQLException.class);
        ModelDuplicateException duplicate = find(failure, ModelDuplicateException.class);
        if (duplicate != null) {
            return Outcome.refused(409, e == null && duplicate.getMessage() != null ? duplicate.getMessage() : "Duplicate resource error");
        }
        if (e != null) {
            return Outcome.refused(500, "the database refused the user, SQL state " + state(e));
        }
        return Outcome.refused(500, failure.getMessage() == null ? failure.getClass().getName() : failure.getMessage());
    }

    private static String state(SQLException e) {
        return e.getSQLState() == null || e.getSQLState().length() < 2 ? "unknown" : e.getSQLState();
    }

    private static <T extends Throwable> T find(Throwable failure, Class<T> type) {
        for (Throwable t = failure; t != null; t = t.getCause()) {
            if (type.isInstance(t)) {
                return type.cast(t);
            }
        }
        return null;
    }
}
