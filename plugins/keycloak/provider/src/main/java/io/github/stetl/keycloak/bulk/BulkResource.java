package io.github.stetl.keycloak.bulk;

import java.io.IOException;
import java.io.InputStream;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

import jakarta.persistence.EntityManager;
import jakarta.ws.rs.BadRequestException;
import jakarta.ws.rs.Consumes;
import jakarta.ws.rs.GET;
import jakarta.ws.rs.POST;
import jakarta.ws.rs.Path;
import jakarta.ws.rs.Produces;
import jakarta.ws.rs.QueryParam;
import jakarta.ws.rs.core.MediaType;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;

import org.keycloak.connections.jpa.JpaConnectionProvider;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.RealmModel;
import org.keycloak.representations.idm.UserRepresentation;
import org.keycloak.services.resources.admin.AdminEventBuilder;
import org.keycloak.util.JsonSerialization;

/** The endpoints, for one request of one realm. */
public class BulkResource {

    /** Counted up when a caller has to know what it talks to. */
    private static final int VERSION = 1;

    private static final int MOST = 1000;

    /** A mistake is not to cost a whole realm. */
    private static final int MOST_DELETED = 200;

    private final KeycloakSession session;
    private final RealmModel realm;
    private final Permissions permissions;
    private final AdminEventBuilder event;

    BulkResource(KeycloakSession session, RealmModel realm, Permissions permissions, AdminEventBuilder event) {
        this.session = session;
        this.realm = realm;
        this.permissions = permissions;
        this.event = event;
    }

    /** Tells callers what there is, that they may use it, and what goes the short way: {@link Direct} and {@link Removal}. */
    @GET
    @Produces(MediaType.APPLICATION_JSON)
    public String describe() throws IOException {
        permissions.requireImport();
        permissions.requireView();
        EntityManager em = session.getProvider(JpaConnectionProvider.class).getEntityManager();
        return JsonSerialization.writeValueAsString(Map.of("version", VERSION, "most", MOST,
                "direct", Direct.on(session, realm, em) != null, "together", Removal.on(session, realm, em) != null,
                "compares", true, "finds", true, "looks", true, "elsewhere", true, "matches", true));
    }

    /**
     * Creates the users of an array that are not there, as partialImport does with SKIP, but each for itself: the answer
     * has an {@link Outcome} for each, in order.
     */
    @POST
    @Path("users")
    @Consumes(MediaType.APPLICATION_JSON)
    @Produces(MediaType.APPLICATION_JSON)
    public String load(InputStream body) throws IOException {
        permissions.requireImport();
        List<JsonNode> sent = array(body);
        Outcome[] outcomes = new Outcome[sent.size()];
        List<Loader.Entry> entries = new ArrayList<>(sent.size());
        for (int i = 0; i < outcomes.length; i++) {
            try {
                UserRepresentation user = JsonSerialization.mapper.treeToValue(sent.get(i), UserRepresentation.class);
                outcomes[i] = Loader.problem(user);
                if (outcomes[i] == null) {
                    entries.add(new Loader.Entry(i, user, Direct.covers(sent.get(i))));
                }
            } catch (JsonProcessingException e) {
                outcomes[i] = Outcome.refused(400, "the user cannot be parsed"); // its own words may show a secret
            }
        }
        new Loader(session, realm.getId(), event, outcomes).load(entries);
        return JsonSerialization.writeValueAsString(Arrays.asList(outcomes));
    }

    /** Returns the accounts with these ids, without those that are not there. */
    @GET
    @Path("accounts")
    @Produces(MediaType.APPLICATION_JSON)
    public String read(@QueryParam("id") List<String> ids) throws IOException {
        permissions.requireView();
        return JsonSerialization.writeValueAsString(new Reader(session, realm).read(ids));
    }

    /** Returns the ids of accounts that are exactly what the caller expects, see {@link Matching}. */
    @GET
    @Path("matching")
    @Produces(MediaType.APPLICATION_JSON)
    public String match(@QueryParam("of") List<String> expected) throws IOException {
        permissions.requireView();
        if (expected.size() > MOST) {
            throw new BadRequestException("at most " + MOST + " accounts are compared at a time");
        }
        return JsonSerialization.writeValueAsString(new Matching(session, realm).of(expected));
    }

    /** Says of credentials of accounts whether they are the ones that the caller means, see {@link Comparison}. */
    @POST
    @Path("comparison")
    @Consumes(MediaType.APPLICATION_JSON)
    @Produces(MediaType.APPLICATION_JSON)
    public String compare(InputStream body) throws IOException {
        permissions.requireImport();
        permissions.requireView();
        return JsonSerialization.writeValueAsString(new Comparison(session, realm).answer(array(body)));
    }

    /** Returns those of the ids that other realms of the server have, see {@link Elsewhere}. */
    @GET
    @Path("elsewhere")
    @Produces(MediaType.APPLICATION_JSON)
    public String elsewhere(@QueryParam("id") List<String> ids) throws IOException {
        permissions.requireImport();
        permissions.requireView();
        if (ids.size() > MOST) {
            throw new BadRequestException("at most " + MOST + " ids are looked for at a time");
        }
        return JsonSerialization.writeValueAsString(new Elsewhere(session, realm).taken(ids));
    }

    /** Says who has ids, user names and addresses, see {@link Holders}. */
    @POST
    @Path("holders")
    @Consumes(MediaType.APPLICATION_JSON)
    @Produces(MediaType.APPLICATION_JSON)
    public String find(InputStream body) throws IOException {
        permissions.requireView();
        return JsonSerialization.writeValueAsString(new Holders(session, realm).find(array(body)));
    }

    /** Says what was done to accounts, by their ids, see {@link Snapshot}. */
    @GET
    @Path("states")
    @Produces(MediaType.APPLICATION_JSON)
    public String look(@QueryParam("id") List<String> ids) throws IOException {
        permissions.requireImport();
        permissions.requireView();
        if (ids.size() > MOST) {
            throw new BadRequestException("at most " + MOST + " accounts are looked at at a time");
        }
        Map<String, Object> shown = new HashMap<>();
        for (Map.Entry<String, Snapshot.State> entry : new Snapshot(session, realm).of(ids).entrySet()) {
            shown.put(entry.getKey(), entry.getValue().shown());
        }
        return JsonSerialization.writeValueAsString(shown);
    }

    /** Deletes accounts that are as the caller has seen them, and answers for each, in order, see {@link Deletion}. */
    @POST
    @Path("deletion")
    @Consumes(MediaType.APPLICATION_JSON)
    @Produces(MediaType.APPLICATION_JSON)
    public String delete(InputStream body) throws IOException {
        permissions.requireImport();
        permissions.requireManage();
        List<JsonNode> accounts = array(body);
        if (accounts.size() > MOST_DELETED) {
            throw new BadRequestException("at most " + MOST_DELETED + " accounts are deleted at a time");
        }
        return JsonSerialization.writeValueAsString(
                Arrays.asList(new Deletion(session, realm.getId(), event, accounts.size()).delete(accounts)));
    }

    private static List<JsonNode> array(InputStream body) throws IOException {
        JsonNode sent;
        try {
            sent = JsonSerialization.mapper.readTree(body);
        } catch (JsonProcessingException e) {
            throw new BadRequestException("the request is not JSON"); // its own words may show a secret
        }
        if (sent == null || !sent.isArray() || sent.size() > MOST) {
            throw new BadRequestException("the request holds no array of at most " + MOST + " users");
        }
        List<JsonNode> list = new ArrayList<>(sent.size());
        for (JsonNode user : sent) {
            list.add(user);
        }
        return list;
    }
}
