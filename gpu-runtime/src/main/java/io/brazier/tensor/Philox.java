package io.brazier.tensor;

/**
 * Philox4x32-10, a counter-based random function (Salmon et al., SC 2011): the draw for an element depends on its counter and
 * the key alone, so neither sharding nor recomputation changes it.
 */
public final class Philox {
    private static final int M0 = 0xD2511F53;
    private static final int M1 = 0xCD9E8D57;
    private static final int W0 = 0x9E3779B9;
    private static final int W1 = 0xBB67AE85;
    private static final int ROUNDS = 10;

    private Philox() {}

    /** Four 32-bit words for counter (c0, c1, c2, c3) under the 64-bit key. */
    public static int[] words(int c0, int c1, int c2, int c3, long key) {
        int k0 = (int) key;
        int k1 = (int) (key >>> 32);
        for (int round = 0; round < ROUNDS; round++) {
            long p0 = (M0 & 0xFFFFFFFFL) * (c0 & 0xFFFFFFFFL);
            long p1 = (M1 & 0xFFFFFFFFL) * (c2 & 0xFFFFFFFFL);
            c0 = (int) (p1 >>> 32) ^ c1 ^ k0;
            c1 = (int) p1;
            c2 = (int) (p0 >>> 32) ^ c3 ^ k1;
            c3 = (int) p0;
            k0 += W0;
            k1 += W1;
        }
        return new int[] {c0, c1, c2, c3};
    }

    /** A double in [0, 1) of the upper 24 bits of a word. */
    public static double uniform(int word) {
        return (word >>> 8) * 0x1p-24;
    }
}
