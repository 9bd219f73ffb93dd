package io.github.stetl.keycloak.bcrypt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.io.InputStream;
import java.lang.reflect.Proxy;
import java.util.List;
import java.util.stream.Stream;

import com.fasterxml.jackson.core.type.TypeReference;
import com.fasterxml.jackson.databind.ObjectMapper;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.NullSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.PasswordPolicy;
import org.keycloak.models.credential.PasswordCredentialModel;
import org.keycloak.models.credential.dto.PasswordCredentialData;
import org.keycloak.models.credential.dto.PasswordSecretData;
import org.keycloak.policy.PasswordPolicyProvider;
import org.mindrot.jbcrypt.BCrypt;

class BcryptPasswordHashProviderTest {

    private static final int CHEAP = 4;

    private final BcryptPasswordHashProvider provider = new BcryptPasswordHashProvider();

    record Stored(String name, String format, String password, String hash) {
        @Override
        public String toString() {
            return name;
        }
    }

    /** Hashes out of a SuperTokens database, each with the password it belongs to. */
    static Stream<Stored> storedBySuperTokens() throws IOException {
        try (InputStream in = BcryptPasswordHashProviderTest.class.getResourceAsStream("/supertokens.json")) {
            List<Stored> all = new ObjectMapper().readValue(in, new TypeReference<List<Stored>>() { });
            return all.stream().filter(s -> s.format().equals("bcrypt"));
        }
    }

    @ParameterizedTest
    @MethodSource("storedBySuperTokens")
    void acceptsTheStoredPasswordAndNoOther(Stored stored) {
        assertTrue(provider.verify(stored.password(), credential(stored.hash())));
        assertFalse(provider.verify("x" + stored.password(), credential(stored.hash())));
        assertFalse(provider.verify("", credential(stored.hash())));
    }

    private static final String CUT_INSIDE_CHARACTER = "x".repeat(71) + "é"; // bytes 72 and 73
    private static final String CUT_INSIDE_EMOJI = "x".repeat(70) + "\uD83D\uDD11"; // bytes 71 to 74

    /** Every pair of these is hashed and verified by us and by SuperTokens' library: the answers must agree. */
    static final List<String> EDGES = List.of(
            "", "x", "xx", "correct horse 1",
            "\0", "x\0", "x\0y", "x\0z",
            "e\u0301", "\u00e9", // one character, decomposed and composed
            "\uD83D\uDD11", "\uD83D", "?", // emoji, half an emoji, and what half an emoji is encoded as
            "x".repeat(70), "x".repeat(71), "x".repeat(72), "x".repeat(73), "x".repeat(99), "x".repeat(71) + "y",
            "x".repeat(71) + "\0", "x".repeat(72) + "y",
            CUT_INSIDE_CHARACTER, "x".repeat(71) + "ê", "x".repeat(71) + "Ā", CUT_INSIDE_CHARACTER + "tail",
            CUT_INSIDE_EMOJI, "x".repeat(70) + "\uD83D\uDD12", "x".repeat(70) + "\uD83C\uDF00");

    static List<String> edges() {
        return EDGES;
    }

    @ParameterizedTest
    @MethodSource("edges")
    void answersAsSuperTokensDoes(String password) {
        String hash = BCrypt.hashpw(password, BCrypt.gensalt(CHEAP));
        for (String attempt : EDGES) {
            assertEquals(BCrypt.checkpw(attempt, hash), provider.verify(attempt, credential(hash)), attempt);
        }
    }

    @Test
    void knowsALongPasswordByItsFirst72Bytes() {
        PasswordCredentialModel stored = credential(BCrypt.hashpw("x".repeat(99), BCrypt.gensalt(CHEAP)));
        assertTrue(provider.verify("x".repeat(72), stored));
        assertTrue(provider.verify("x".repeat(72) + "other tail", stored));
        assertFalse(provider.verify("x".repeat(71), stored));

        // é and ê begin with the same byte, é and Ā do not
        stored = credential(BCrypt.hashpw(CUT_INSIDE_CHARACTER, BCrypt.gensalt(CHEAP)));
        assertTrue(provider.verify("x".repeat(71) + "ê", stored));
        assertFalse(provider.verify("x".repeat(71) + "Ā", stored));
    }

    /** $2x$ too: SuperTokens verifies all four as $2a$. */
    @ParameterizedTest
    @ValueSource(strings = {"$2a", "$2b", "$2x", "$2y"})
    void treatsAllRevisionsAlike(String revision) {
        String hash = revision + BCrypt.hashpw("pässwörd", BCrypt.gensalt(CHEAP)).substring(3);
        assertTrue(provider.verify("pässwörd", credential(hash)));
        assertFalse(provider.verify("password", credential(hash)));
    }

    @ParameterizedTest
    @NullSource
    @ValueSource(strings = {
        "",
        "x",
        "$2a$",
        "$2a$10$",
        "$2$10$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2", // SuperTokens refuses it as well
        "$2c$10$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$2b$03$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$2b$32$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$2b$+9$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$2b$10$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh", // one short
        "$2b$10$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh22",
        "$2b$10$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2\n",
        "$2b$10$Z9bBlf/LX.7Y$DKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$2b$10$Z9bBlf/LX.7YéDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2",
        "$argon2i$v=19$m=4096,t=3,p=1$g2sdvypaU9z/yuakObwoxw$dcVlfnYwyYIQwaW9VpIrjAa8Zg85xanaVrg/TkJ2N3U",
    })
    void refusesWhatIsNoBcryptHash(String value) {
        assertFalse(provider.verify("cobalt-mango-1907", credential(value)));
        assertFalse(provider.policyCheck(policy(""), credential(value)));
        assertNull(provider.credentialHashingStrength(credential(value)));
    }

    @Test
    void refusesWhatIsMissing() {
        PasswordCredentialModel noSecret = PasswordCredentialModel.createFromValues(
                new PasswordCredentialData(10, "bcrypt"), (PasswordSecretData) null);
        assertFalse(provider.verify("x", null));
        assertFalse(provider.verify("x", noSecret));
        assertFalse(provider.verify(null, credential(BCrypt.hashpw("x", BCrypt.gensalt(CHEAP)))));
    }

    /** The cost counts that is in the hash, not the copy beside it, which an importer may have got wrong. */
    @ParameterizedTest
    @CsvSource(nullValues = "-", value = {
        "hashAlgorithm(bcrypt) and hashIterations(10), 10, true",
        "hashAlgorithm(bcrypt) and hashIterations(12), 10, false",
        "hashAlgorithm(bcrypt), 11, true",
        "hashAlgorithm(bcrypt), 10, false",
        "hashAlgorithm(bcrypt) and hashIterations(27500), 11, true",
        "hashAlgorithm(argon2), 11, false",
        "hashAlgorithm(argon2) and hashIterations(10), 10, false",
        "hashIterations(10), 10, true", // bcrypt is the server's default
        "'', 11, true",
        "-, 11, true",
        "-, 10, false",
    })
    void policyCheckComparesAlgorithmAndCost(String policy, int cost, boolean keeps) {
        String hash = "$2a$%02d$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2".formatted(cost);
        PasswordCredentialModel stored =
                PasswordCredentialModel.createFromValues("bcrypt", new byte[0], 5, hash);
        assertEquals(keeps, provider.policyCheck(policy == null ? null : policy(policy), stored));
    }

    @Test
    void policyCheckRefusesAnotherAlgorithm() {
        PasswordCredentialModel stored = PasswordCredentialModel.createFromValues("argon2", new byte[16], 11,
                "$2a$11$Z9bBlf/LX.7YsDKgaE/ps.VtyiiW2VAl4HZxwhwArScn7E9epUyh2");
        assertFalse(provider.policyCheck(policy("hashAlgorithm(bcrypt)"), stored));
    }

    @ParameterizedTest
    @CsvSource({"-1, 11", "4, 4", "6, 6", "3, 11", "0, 11", "32, 11", "210000, 11"})
    void hashesWithAUsableCost(int asked, int used) {
        PasswordCredentialModel made = provider.encodedCredential("pässwörd", asked);
        String hash = made.getPasswordSecretData().getValue();
        assertEquals("$2a$%02d$".formatted(used), hash.substring(0, 7));
        assertTrue(BCrypt.checkpw("pässwörd", hash), "readable by SuperTokens' library");
        assertTrue(provider.verify("pässwörd", made));
        assertEquals("bcrypt", made.getPasswordCredentialData().getAlgorithm());
        assertEquals(used, made.getPasswordCredentialData().getHashIterations());
        assertEquals("bcrypt[cost=" + used + "]", provider.credentialHashingStrength(made));
    }

    @ParameterizedTest
    @MethodSource("edges")
    void hashesAsSuperTokensDoes(String password) {
        String hash = provider.encodedCredential(password, CHEAP).getPasswordSecretData().getValue();
        assertTrue(BCrypt.checkpw(password, hash));
        assertNotEquals(hash, provider.encodedCredential(password, CHEAP).getPasswordSecretData().getValue(), "salt");
    }

    /** What the import interfaces of Keycloak take and what its database holds. */
    @Test
    void storesTheDocumentedShape() {
        PasswordCredentialModel made = provider.encodedCredential("x", CHEAP);
        assertEquals("{\"hashIterations\":4,\"algorithm\":\"bcrypt\",\"additionalParameters\":{}}",
                made.getCredentialData());
        assertEquals("{\"value\":\"" + made.getPasswordSecretData().getValue()
                + "\",\"salt\":\"\",\"additionalParameters\":{}}", made.getSecretData());
    }

    private static PasswordCredentialModel credential(String hash) {
        return PasswordCredentialModel.createFromValues("bcrypt", new byte[0], 10, hash);
    }

    /** A policy as a realm has it; Keycloak asks a provider per policy to parse its value. */
    private static PasswordPolicy policy(String text) {
        var parser = (PasswordPolicyProvider) Proxy.newProxyInstance(PasswordPolicyProvider.class.getClassLoader(),
                new Class<?>[] {PasswordPolicyProvider.class},
                (self, method, args) -> ((String) args[0]).matches("\\d+") ? (Object) Integer.valueOf((String) args[0]) : args[0]);
        var session = (KeycloakSession) Proxy.newProxyInstance(KeycloakSession.class.getClassLoader(),
                new Class<?>[] {KeycloakSession.class}, (self, method, args) -> parser);
        return PasswordPolicy.parse(session, text);
    }
}
