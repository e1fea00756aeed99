package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.security.MessageDigest;
import java.util.Arrays;
import javax.crypto.Mac;

/**
 * Tags of one direction of a data connection. A header's tag is HMAC-SHA256, cut to 16 bytes, over the frame's number and the
 * header. A payload's tag is the same over the payload's NH digests (universal hashing as in UMAC, RFC 4418, two keys: an altered
 * payload keeps its digest with probability 2^-64), because HMAC over every byte costs more time than the network.
 */
final class FrameSeal {

    static final int TAG_BYTES = 16;

    private static final int WORDS_PER_BLOCK = 2;

    private final Mac mac;
    private final ByteBuffer key;
    private final ByteBuffer digests;
    private long number;

    FrameSeal(Secret secret) {
        this.mac = secret.derive("frames", new byte[0]).mac();
        this.key = ByteBuffer.allocateDirect(SharedMemory.DIGEST_BLOCK + 16);
        key.put(0, secret.expand("digest", key.capacity()));
        int blocks = Link.SLOT_BYTES / SharedMemory.DIGEST_BLOCK;
        this.digests =
                ByteBuffer.allocateDirect(blocks * WORDS_PER_BLOCK * Long.BYTES).order(ByteOrder.LITTLE_ENDIAN);
    }

    /** Tag of the next frame's header, which is the first bytes of a slot. */
    byte[] header(ByteBuffer slot) {
        number++;
        start(0);
        mac.update(slot.slice(0, Call.Frame.BYTES));
        return Arrays.copyOf(mac.doFinal(), TAG_BYTES);
    }

    /** Tag of the payload of the frame whose header was last. */
    byte[] payload(long address, int bytes) {
        SharedMemory.digest(address, bytes, SharedMemory.address(key), SharedMemory.address(digests));
        int blocks = (bytes + SharedMemory.DIGEST_BLOCK - 1) / SharedMemory.DIGEST_BLOCK;
        start(1);
        mac.update(digests.slice(0, blocks * WORDS_PER_BLOCK * Long.BYTES));
        return Arrays.copyOf(mac.doFinal(), TAG_BYTES);
    }

    private void start(int part) {
        mac.update(ByteBuffer.allocate(Long.BYTES + 1)
                .putLong(number)
                .put((byte) part)
                .flip());
    }

    static void check(byte[] tag, ByteBuffer slot, int at, int peer) {
        byte[] found = new byte[TAG_BYTES];
        slot.get(at, found);
        if (!MessageDigest.isEqual(tag, found)) {
            throw new CollectiveException(
                    CollectiveException.Category.AUTHENTICATION,
                    "a frame from rank " + peer + " was altered on the way: its tag does not fit");
        }
    }
}
