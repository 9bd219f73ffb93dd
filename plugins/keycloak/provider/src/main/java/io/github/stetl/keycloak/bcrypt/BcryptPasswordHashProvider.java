package io.github.stetl.keycloak.bcrypt;

import java.nio.charset.StandardCharsets;
import java.security.SecureRandom;
import java.util.regex.Pattern;

import org.bouncycastle.crypto.generators.OpenBSDBCrypt;
import org.jboss.logging.Logger;
import org.keycloak.credential.hash.PasswordHashProvider;
import org.keycloak.models.PasswordPolicy;
import org.keycloak.models.credential.PasswordCredentialModel;

/**
 * Accepts exactly the passwords that SuperTokens accepted for the same bcrypt hash.
 *
 * <p>SuperTokens verifies with jBCrypt 0.4, after rewriting {@code $2b$}, {@code $2x$} and {@code $2y$} to
 * {@code $2a$}. The password is its UTF-8 bytes and a terminating NUL, cut at 72 bytes: a longer password is known by
 * its first 72 bytes, even where that splits a character. {@code $2x$} once marked hashes made by a faulty
 * implementation; like SuperTokens this one does not reproduce the fault, so that such a hash verifies if, and only
 * if, it was computed correctly (which it was for every pure ASCII password).
 *
 * <p>Stateless, hence safe for concurrent use.
 */
final class BcryptPasswordHashProvider implements PasswordHashProvider {

    static final int DEFAULT_COST = 11; // as SuperTokens

    private static final int MIN_COST = 4;
    private static final int MAX_COST = 31;
    private static final int SALT_BYTES = 16;
    private static final String REVISION = "2a"; // every bcrypt library reads this one

    private static final Pattern MODULAR_CRYPT =
            Pattern.compile("\\$2[abxy]\\$(?:0[4-9]|[12][0-9]|3[01])\\$[./A-Za-z0-9]{53}");

    private static final Logger LOG = Logger.getLogger(BcryptPasswordHashProvider.class);

    private final SecureRandom random = new SecureRandom();

    /** Answers false, and never throws, when the stored value is missing or is not a bcrypt hash. */
    @Override
    public boolean verify(String rawPassword, PasswordCredentialModel credential) {
        String hash = bcryptHash(credential);
        if (rawPassword == null || hash == null) {
            return false;
        }
        String asVerifiedBySuperTokens = "$2a" + hash.substring(3);
        // The overload for bytes: the one for chars throws on an unpaired surrogate, where Java's encoder and with it
        // SuperTokens has '?'. BouncyCastle ends its comparison only after the last character.
        return OpenBSDBCrypt.checkPassword(asVerifiedBySuperTokens, rawPassword.getBytes(StandardCharsets.UTF_8));
    }

    /** False makes Keycloak hash the password anew, with the realm's algorithm, at the next login. */
    @Override
    public boolean policyCheck(PasswordPolicy policy, PasswordCredentialModel credential) {
        String hash = bcryptHash(credential);
        if (hash == null || !isOurs(credential.getPasswordCredentialData().getAlgorithm())) {
            return false;
        }
        if (policy == null) {
            return cost(hash) == DEFAULT_COST;
        }
        // A realm without a named algorithm has the server's default, which may have been set to this provider.
        return (policy.getHashAlgorithm() == null || isOurs(policy.getHashAlgorithm()))
                && cost(hash) == usableCost(policy.getHashIterations());
    }

    /**
     * Hashes with 2^cost rounds. A value that is no bcrypt cost means {@value #DEFAULT_COST}: -1 is Keycloak's "not
     * set", and a large one is an iteration count left over from another algorithm, which as a cost would occupy a CPU
     * for days.
     */
    @Override
    public PasswordCredentialModel encodedCredential(String rawPassword, int iterations) {
        int cost = usableCost(iterations);
        if (iterations != -1 && iterations != cost) {
            LOG.warnf("%d is not a bcrypt cost (%d to %d), using %d", iterations, MIN_COST, MAX_COST, cost);
        }
        byte[] salt = new byte[SALT_BYTES];
        random.nextBytes(salt);
        String hash = OpenBSDBCrypt.generate(REVISION, rawPassword.getBytes(StandardCharsets.UTF_8), salt, cost);
        // The salt is part of the hash.
        return PasswordCredentialModel.createFromValues(
                BcryptPasswordHashProviderFactory.ID, new byte[0], cost, hash);
    }

    /** A label for the server's metrics. Not marked as an override: servers before 26.1 do not have the method. */
    public String credentialHashingStrength(PasswordCredentialModel credential) {
        String hash = bcryptHash(credential);
        return hash == null ? null : "bcrypt[cost=" + cost(hash) + "]";
    }

    @Override
    public void close() {
        // holds nothing
    }

    /** The stored text if it is a well-formed bcrypt hash, else null. */
    private static String bcryptHash(PasswordCredentialModel credential) {
        if (credential == null || credential.getPasswordSecretData() == null) {
            return null;
        }
        String value = credential.getPasswordSecretData().getValue();
        return value != null && MODULAR_CRYPT.matcher(value).matches() ? value : null;
    }

    private static int cost(String hash) {
        return Integer.parseInt(hash.substring(4, 6));
    }

    private static int usableCost(int wanted) {
        return wanted < MIN_COST || wanted > MAX_COST ? DEFAULT_COST : wanted;
    }

    private static boolean isOurs(String algorithm) {
        return BcryptPasswordHashProviderFactory.ID.equals(algorithm);
    }
}
