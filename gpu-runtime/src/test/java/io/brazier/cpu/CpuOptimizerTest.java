package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CpuOptimizerTest {

    @ParameterizedTest
    @ValueSource(ints = {1, 17, 1000, 200_003})
    void adamwAgreesWithPlainLoops(int n) {
        try (NativeArena arena = new NativeArena(n)) {
            CpuNative.setNumThreads(2);
            float[] s = {1e-2f, 0.9f, 0.95f, 1e-8f, 0.5f, 2.5f, 7f};
            float decay = 0.1f;
            float[] p = arena.normal(n, 1);
            float[] g = arena.normal(n, 1);
            float[] m = arena.normal(n, 1);
            float[] v = arena.normal(n, 1);
            double[] newP = new double[n];
            double[] newM = new double[n];
            double[] newV = new double[n];
            for (int i = 0; i < n; i++) {
                v[i] *= v[i];
                double gradient = (double) g[i] * s[4];
                newM[i] = (double) s[1] * m[i] + (1 - (double) s[1]) * gradient;
                newV[i] = (double) s[2] * v[i] + (1 - (double) s[2]) * gradient * gradient;
                newP[i] = p[i] - s[0] * (newM[i] * s[5] / (Math.sqrt(newV[i] * s[6]) + s[3]) + (double) decay * p[i]);
            }
            long ap = arena.floats(p);
            long am = arena.floats(m);
            long av = arena.floats(v);
            CpuNative.adamw(ap, arena.floats(g), am, av, n, arena.floats(s), decay);
            arena.check("p", newP, ap, 1e-6);
            arena.check("m", newM, am, 1e-6);
            arena.check("v", newV, av, 1e-6);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 13, 70_001, 400_003})
    void squaredSumIsTheSameForEveryTeam(int n) {
        try (NativeArena arena = new NativeArena(n)) {
            float[] x = arena.normal(n, 1);
            double expected = 0;
            for (float value : x) {
                expected += (double) value * value;
            }
            long ax = arena.floats(x);
            long out = arena.longs(0x7FF8_0000_0000_0000L);
            CpuNative.setNumThreads(1);
            CpuNative.squaredSum(ax, n, 1, out, false);
            double one = arena.readDouble(out);
            assertEquals(expected, one, 1e-12 * expected);
            CpuNative.setNumThreads(3);
            CpuNative.squaredSum(ax, n, 1, out, false);
            assertEquals(one, arena.readDouble(out));
            CpuNative.squaredSum(ax, n, 1, out, true);
            assertEquals(2 * expected, arena.readDouble(out), 1e-12 * expected);
        }
    }
}
