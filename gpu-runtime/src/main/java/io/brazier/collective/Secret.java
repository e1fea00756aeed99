package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.security.SecureRandom;
import java.util.Arrays;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/** A key of HMAC-SHA256. Never shows itself. */
final class Secret {

    static final int BYTES = 32;

    private static final String ALGORITHM = "HmacSHA256";
    private static final SecureRandom RANDOM = new SecureRandom();

    private final byte[] key;

    Secret(byte[] key) {
        if (key.length != BYTES) {
            throw new IllegalArgumentException("the job's secret has " + key.length + " bytes: give " + BYTES);
        }
        this.key = key.clone();
    }

    static byte[] nonce(int bytes) {
        byte[] nonce = new byte[bytes];
        RANDOM.nextBytes(nonce);
        return nonce;
    }

    /** A new instance for one thread. */
    Mac mac() {
        try {
            Mac mac = Mac.getInstance(ALGORITHM);
            mac.init(new SecretKeySpec(key, ALGORITHM));
            return mac;
        } catch (GeneralSecurityException e) {
            throw new AssertionError("every Java platform has " + ALGORITHM, e);
        }
    }

    byte[] tag(String label, byte[] message) {
        Mac mac = mac();
        mac.update(label.getBytes(StandardCharsets.US_ASCII));
        mac.update((byte) 0);
        return mac.doFinal(message);
    }

    boolean verifies(String label, byte[] message, byte[] tag) {
        return MessageDigest.isEqual(tag(label, message), tag);
    }

    /** A key for one purpose. */
    Secret derive(String label, byte[] context) {
        return new Secret(tag(label, context));
    }

    /** Pseudo-random bytes for one purpose: HMAC in counter mode (NIST SP 800-108). */
    byte[] expand(String label, int bytes) {
        ByteBuffer result = ByteBuffer.allocate((bytes + BYTES - 1) / BYTES * BYTES);
        for (int counter = 0; result.hasRemaining(); counter++) {
            result.put(tag(
                    label, ByteBuffer.allocate(Integer.BYTES).putInt(counter).array()));
        }
        return Arrays.copyOf(result.array(), bytes);
    }

    @Override
    public String toString() {
        return "Secret(hidden)";
    }
}
