package io.github.stetl.keycloak.bulk;

/**
 * What became of one user: 201 created, 200 somebody has the id, the name or the address, 204 deleted, anything else refused
 * for the reason that {@code error} gives.
 */
public final class Outcome {

    static final Outcome CREATED = new Outcome(201, null);
    static final Outcome EXISTS = new Outcome(200, null);
    static final Outcome DELETED = new Outcome(204, null);

    public final int status;
    public final String error;

    private Outcome(int status, String error) {
        this.status = status;
        this.error = error;
    }

    static Outcome refused(int status, String error) {
        return new Outcome(status, error);
    }
}
