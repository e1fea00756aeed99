package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Path;

/** Native memory and what runs over it. The native library must have been loaded. */
final class SharedMemory {

    /** Bytes between two words that different ranks write. */
    static final int LINE = 64;

    static final int DIGEST_BLOCK = 4096;

    private static final int ENOSPC = 28;

    private SharedMemory() {}

    /** Makes a file of this size that only this user can read, takes its pages, and maps it. */
    static long create(Path path, long bytes) {
        return checked(create0(path.toString(), bytes), "create", path, bytes);
    }

    /** Maps a file of this size that {@link #create} made. */
    static long open(Path path, long bytes) {
        return checked(open0(path.toString(), bytes), "open", path, bytes);
    }

    static long anonymous(long bytes) {
        return checked(anonymous0(bytes), "map", Path.of("anonymous"), bytes);
    }

    static ByteBuffer view(long address, long bytes) {
        return ((ByteBuffer) view0(address, bytes)).order(ByteOrder.LITTLE_ENDIAN);
    }

    private static long checked(long result, String verb, Path path, long bytes) {
        if (result < 0 && result > -4096) {
            String remedy = -result == ENOSPC
                    ? ": the file system is full; enlarge it (a container's --shm-size) or choose transport TCP"
                    : "";
            throw new CollectiveException(
                    CollectiveException.Category.SETUP,
                    "cannot " + verb + " " + bytes + " bytes of shared memory at " + path + ", errno " + -result
                            + remedy);
        }
        return result;
    }

    private static native long create0(String path, long bytes);

    private static native long open0(String path, long bytes);

    private static native long anonymous0(long bytes);

    private static native Object view0(long address, long bytes);

    static native void unmap(long address, long bytes);

    /** Address of a direct buffer. */
    static native long address(ByteBuffer buffer);

    /** Reads a word that another rank writes; what it wrote before is visible afterwards. */
    static native int load(long address);

    static native void store(long address, int value);

    /** Wakes whoever sleeps at a doorbell: two lines, a count of rings and the number of sleepers. */
    static native void ring(long doorbell);

    /** Sleeps until the doorbell's count differs from seen, or for so long. */
    static native void sleep(long doorbell, int seen, long nanos);

    static native void copy(long to, long from, long bytes);

    /** to[t] [count] = from[0] + from[1] + ... in this order; type is an {@link ElementType}'s ordinal. */
    static native void sum(int type, long[] to, long[] from, long count);

    /** Keyed NH digest: two words per block of {@link #DIGEST_BLOCK} bytes; key has a block and 16 bytes. */
    static native void digest(long address, long bytes, long key, long out);
}
