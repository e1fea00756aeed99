package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;

/**
 * How two ranks prove to each other that they know the job's secret. The listener greets with a nonce; the dialler claims a rank,
 * with its own nonce and an HMAC over all of it; the listener proves itself by another HMAC. Messages have fixed sizes, so a
 * stranger makes the listener read 60 bytes and allocate nothing. Keys of the connection come from both nonces: what was
 * recorded on one connection is refused on every other.
 */
final class Handshake {

    static final int NONCE_BYTES = 16;
    static final int GREETING_BYTES = 8 + NONCE_BYTES;
    static final int CLAIM_BYTES = 2 + 2 + Long.BYTES + NONCE_BYTES + Secret.BYTES;
    static final int PROOF_BYTES = Secret.BYTES;

    private static final byte[] MAGIC = "BRAZIER1".getBytes(StandardCharsets.US_ASCII);

    /** What a connection is for. */
    enum Purpose {
        CONTROL,
        DATA
    }

    /** Who dials whom, and what for. */
    record Claim(long generation, int dialler, int listener, Purpose purpose) {

        private byte[] transcript(byte[] listenerNonce, byte[] diallerNonce) {
            return ByteBuffer.allocate(Long.BYTES + 3 * Integer.BYTES + 2 * NONCE_BYTES)
                    .putLong(generation)
                    .putInt(dialler)
                    .putInt(listener)
                    .putInt(purpose.ordinal())
                    .put(listenerNonce)
                    .put(diallerNonce)
                    .array();
        }
    }

    /** A proven connection's keys, one for each direction. */
    record Session(Claim claim, Secret sending, Secret receiving) {}

    private Handshake() {}

    static byte[] greeting(byte[] listenerNonce) {
        return ByteBuffer.allocate(GREETING_BYTES).put(MAGIC).put(listenerNonce).array();
    }

    /** The nonce of a greeting, or null when it is none. */
    static byte[] readGreeting(byte[] greeting) {
        return Arrays.equals(MAGIC, Arrays.copyOf(greeting, MAGIC.length))
                ? Arrays.copyOfRange(greeting, MAGIC.length, GREETING_BYTES)
                : null;
    }

    static byte[] claim(Secret secret, Claim claim, byte[] listenerNonce, byte[] diallerNonce) {
        return ByteBuffer.allocate(CLAIM_BYTES)
                .putShort((short) claim.dialler)
                .putShort((short) claim.purpose.ordinal())
                .putLong(claim.generation)
                .put(diallerNonce)
                .put(secret.tag("claim", claim.transcript(listenerNonce, diallerNonce)))
                .array();
    }

    /** A claim that the listener has checked, with the answer to give. */
    record Accepted(Session session, byte[] proof) {}

    /** Checks a claim; null when it is not proven, is of another generation or for another purpose. */
    static Accepted accept(Secret secret, long generation, int listener, byte[] listenerNonce, byte[] message) {
        ByteBuffer in = ByteBuffer.wrap(message);
        int dialler = in.getShort();
        int purpose = in.getShort();
        long claimed = in.getLong();
        byte[] diallerNonce = new byte[NONCE_BYTES];
        byte[] tag = new byte[Secret.BYTES];
        in.get(diallerNonce).get(tag);
        if (claimed != generation || purpose < 0 || purpose >= Purpose.values().length) {
            return null;
        }
        Claim claim = new Claim(generation, dialler, listener, Purpose.values()[purpose]);
        byte[] transcript = claim.transcript(listenerNonce, diallerNonce);
        if (!secret.verifies("claim", transcript, tag)) {
            return null;
        }
        Session session = new Session(
                claim, secret.derive("from listener", transcript), secret.derive("from dialler", transcript));
        return new Accepted(session, secret.tag("proof", transcript));
    }

    /** The dialler's end of a connection; null when the listener did not prove itself. */
    static Session finish(Secret secret, Claim claim, byte[] listenerNonce, byte[] diallerNonce, byte[] proof) {
        byte[] transcript = claim.transcript(listenerNonce, diallerNonce);
        return secret.verifies("proof", transcript, proof)
                ? new Session(
                        claim, secret.derive("from dialler", transcript), secret.derive("from listener", transcript))
                : null;
    }
}
