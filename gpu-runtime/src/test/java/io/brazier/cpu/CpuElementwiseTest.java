package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.function.IntToDoubleFunction;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CpuElementwiseTest {
    private static final double C = Math.sqrt(2 / Math.PI);

    @BeforeEach
    void twoThreads() {
        new NativeArena(0).close();
        CpuNative.setNumThreads(2);
    }

    private static double[] map(int count, IntToDoubleFunction f) {
        return IntStream.range(0, count).mapToDouble(f).toArray();
    }

    private static double gelu(double x) {
        return x / (1 + Math.exp(-2 * C * (x + 0.044715 * x * x * x)));
    }

    private static double geluSlope(double x) {
        double t = Math.tanh(C * (x + 0.044715 * x * x * x));
        return 0.5 * (1 + t) + 0.5 * x * (1 - t * t) * C * (1 + 3 * 0.044715 * x * x);
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 3, 16, 31, 1000, 70_001})
    void mapsAgreeWithPlainLoops(int n) {
        try (NativeArena arena = new NativeArena(n)) {
            float[] a = arena.normal(n, 2);
            float[] b = arena.normal(n, 2);
            long x = arena.floats(a);
            long y = arena.floats(b);
            long out = arena.output(n);
            CpuNative.add(x, y, out, n);
            arena.check("add", map(n, i -> (double) a[i] + b[i]), out, 1e-7);
            CpuNative.scale(x, out, n, 0.3f);
            arena.check("scale", map(n, i -> a[i] * (double) 0.3f), out, 1e-7);
            CpuNative.gelu(x, out, n);
            arena.check("gelu", map(n, i -> gelu(a[i])), out, 1e-6);
            CpuNative.geluGrad(x, y, out, n);
            arena.check("geluGrad", map(n, i -> b[i] * geluSlope(a[i])), out, 1e-6);
            CpuNative.geluGrad(x, y, y, n);
            arena.checkSame("geluGrad in place", arena.read(out, n), y);
            CpuNative.addInto(x, out, n);
            arena.check("addInto", map(n, i -> a[i] + b[i] * geluSlope(a[i])), x, 1e-6);
            CpuNative.fill(out, n, -7);
            arena.check("fill", map(n, i -> -7), out, 0);
            CpuNative.copy(out, x, 4L * n);
            arena.checkSame("copy", arena.read(x, n), out);
        }
    }

    @Test
    void geluIsAccurateAndFiniteFarOut() {
        try (NativeArena arena = new NativeArena(5)) {
            float[] x = new float[20_001];
            for (int i = 0; i < x.length; i++) {
                x[i] = (i - 10_000) * 5e-4f;
            }
            long y = arena.output(x.length);
            CpuNative.gelu(arena.floats(x), y, x.length);
            float[] values = arena.read(y, x.length);
            for (int i = 0; i < x.length; i++) {
                double expected = gelu(x[i]);
                assertTrue(
                        Math.abs(values[i] - expected) <= 1e-6 * Math.abs(expected) + 1e-10,
                        x[i] + " " + values[i] + " " + expected);
            }
            long far = arena.floats(-1e4f, -100, -30, -12, 12, 30, 100, 1e4f, Float.NaN);
            long one = arena.floats(1, 1, 1, 1, 1, 1, 1, 1, 1);
            long out = arena.output(9);
            CpuNative.gelu(far, out, 9);
            arena.check("far", new double[] {0, 0, 0, 0, 12, 30, 100, 1e4}, out, 1e-7);
            assertTrue(Float.isNaN(arena.read(out, 9)[8]));
            CpuNative.geluGrad(far, one, out, 9);
            arena.check("far slope", new double[] {0, 0, 0, 0, 1, 1, 1, 1}, out, 1e-6);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 5, 63, 64, 1000, 300_001})
    void dropoutDrawsPhilox(int n) {
        try (NativeArena arena = new NativeArena(n)) {
            long seed = 0x1234_5678_9ABC_DEF0L;
            long step = 41;
            long firstRow = 10_000_000_019L;
            int width = 7;
            long stream = 3;
            float rate = 0.3f;
            float[] x = arena.normal(n, 1);
            long y = arena.output(n);
            CpuNative.dropout(arena.floats(x), y, n, rate, arena.longs(seed, step, firstRow), 0, stream, width);
            arena.check(
                    "dropout",
                    map(n, i -> {
                        long e = firstRow * width + i;
                        int word = philox((int) (e / 4), (int) (e / 4 >>> 32), (int) step, (int) stream, seed)[
                                (int) (e % 4)];
                        return (word >>> 8) * 0x1p-24 >= rate ? x[i] / (1 - (double) rate) : 0;
                    }),
                    y,
                    1e-6);
        }
    }

    /** The test vectors of Random123 fix the function itself. */
    @Test
    void philoxOracleGivesPublishedValues() {
        assertEquals(
                "[6627e8d5, e169c58d, bc57ac4c, 9b00dbd8]",
                Arrays.toString(Arrays.stream(philox(0, 0, 0, 0, 0))
                        .mapToObj(Integer::toHexString)
                        .toArray()));
    }

    private static int[] philox(int c0, int c1, int c2, int c3, long key) {
        long[] c = {c0 & 0xFFFFFFFFL, c1 & 0xFFFFFFFFL, c2 & 0xFFFFFFFFL, c3 & 0xFFFFFFFFL};
        long k0 = key & 0xFFFFFFFFL;
        long k1 = key >>> 32;
        for (int round = 0; round < 10; round++) {
            long p = 0xD2511F53L * c[0];
            long q = 0xCD9E8D57L * c[2];
            c = new long[] {(q >>> 32) ^ c[1] ^ k0, q & 0xFFFFFFFFL, (p >>> 32) ^ c[3] ^ k1, p & 0xFFFFFFFFL};
            k0 = (k0 + 0x9E3779B9L) & 0xFFFFFFFFL;
            k1 = (k1 + 0xBB67AE85L) & 0xFFFFFFFFL;
        }
        return Arrays.stream(c).mapToInt(word -> (int) word).toArray();
    }

    @Test
    void allFiniteFindsOneBadElement() {
        try (NativeArena arena = new NativeArena(6)) {
            float[] x = arena.normal(50_003, 1e30);
            assertTrue(CpuNative.allFinite(arena.floats(x), x.length));
            for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
                float[] y = x.clone();
                y[50_002] = bad;
                assertFalse(CpuNative.allFinite(arena.floats(y), y.length));
            }
        }
    }

    @Test
    void absentOperandsAreNamed() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> CpuNative.gelu(0, 0, 1));
        assertTrue(e.getMessage().contains("gelu"), e.getMessage());
        assertThrows(OutOfMemoryError.class, () -> CpuNative.allocate(1L << 60));
    }
}
