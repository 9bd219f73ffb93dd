package io.github.stetl.keycloak.bulk;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.UUID;

/**
 * The mark of a load: the second half of a credential's id follows from the id of its account and the first half, so that
 * nobody else makes one by accident.
 */
final class Mark {

    private static final UUID URLS = UUID.fromString("6ba7b811-9dad-11d1-80b4-00c04fd430c8"); // of RFC 9562
    private static final UUID SPACE =
            named(URLS, "https://github.com/stetl/stetl/keycloak/credential".getBytes(StandardCharsets.UTF_8));

    private Mark() {}

    /** Whether a load has made the credential of an account. */
    static boolean on(String account, String credential) {
        if (credential == null || credential.length() != 36) {
            return false;
        }
        UUID id;
        try {
            id = UUID.fromString(credential);
        } catch (IllegalArgumentException e) {
            return false;
        }
        byte[] name = (account + "\0").getBytes(StandardCharsets.UTF_8);
        byte[] sealed = ByteBuffer.allocate(name.length + Long.BYTES).put(name).putLong(id.getMostSignificantBits()).array();
        return id.version() == 8 && id.toString().equals(credential)
                && named(SPACE, sealed).getLeastSignificantBits() == id.getLeastSignificantBits();
    }

    /** A UUID of version 5. */
    private static UUID named(UUID space, byte[] name) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-1");
            digest.update(ByteBuffer.allocate(2 * Long.BYTES).putLong(space.getMostSignificantBits())
                    .putLong(space.getLeastSignificantBits()).array());
            ByteBuffer sum = ByteBuffer.wrap(digest.digest(name));
            long most = sum.getLong(), least = sum.getLong();
            return new UUID(most & ~0xf000L | 0x5000L, least & 0x3fffffffffffffffL | 0x8000000000000000L);
        } catch (NoSuchAlgorithmException e) {
            throw new IllegalStateException(e);
        }
    }
}
