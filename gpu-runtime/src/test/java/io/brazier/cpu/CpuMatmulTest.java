package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class CpuMatmulTest {
    private static final int[][] SHAPES = {
        {1, 7, 5}, {8, 64, 96}, {33, 65, 17}, {128, 96, 256}, {3, 1031, 40}, {203, 67, 1030}
    };

    private enum Addend {
        NONE,
        IN_PLACE,
        SEPARATE
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3})
    void agreesWithPlainLoops(int numThreads) {
        for (int[] s : SHAPES) {
            for (int options = 0; options < 16; options++) {
                for (Addend addend : Addend.values()) {
                    try (NativeArena arena = new NativeArena(options)) {
                        CpuNative.setNumThreads(numThreads);
                        check(arena, s, options, addend);
                    }
                }
            }
        }
    }

    private static void check(NativeArena arena, int[] shape, int options, Addend addend) {
        int m = shape[0];
        int n = shape[1];
        int k = shape[2];
        boolean transposeX = (options & 1) != 0;
        boolean transposeW = (options & 2) != 0;
        boolean bias = (options & 4) != 0;
        boolean gelu = (options & 8) != 0;
        float[] x = arena.normal(m * k, 1);
        float[] w = arena.normal(k * n, 1 / Math.sqrt(k));
        float[] b = arena.normal(n, 1);
        float[] plus = arena.normal(m * n, 1);
        double[] expected = new double[m * n];
        for (int i = 0; i < m; i++) {
            for (int j = 0; j < n; j++) {
                double sum = (bias ? b[j] : 0) + (addend == Addend.NONE ? 0 : plus[i * n + j]);
                for (int p = 0; p < k; p++) {
                    sum += (double) x[transposeX ? p * m + i : i * k + p] * w[transposeW ? j * k + p : p * n + j];
                }
                expected[i * n + j] = gelu
                        ? sum / 2 * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (sum + 0.044715 * sum * sum * sum)))
                        : sum;
            }
        }
        long handle = CpuNative.matmulCreate(
                m, n, k, transposeX, transposeW, bias, addend != Addend.NONE, gelu ? CpuNative.ACTIVATION_GELU : 0);
        try {
            long y = addend == Addend.IN_PLACE ? arena.floats(plus) : arena.output(m * n);
            long other = addend == Addend.SEPARATE ? arena.floats(plus) : addend == Addend.IN_PLACE ? y : 0;
            long scratch = arena.scratch(CpuNative.matmulScratchBytes(handle));
            CpuNative.matmulRun(
                    handle, arena.floats(x), arena.floats(w), bias ? arena.floats(b) : 0, other, y, scratch);
            arena.check("matmul " + m + "x" + n + "x" + k + " options " + options + " " + addend, expected, y, 3e-6);
        } finally {
            CpuNative.matmulDestroy(handle);
        }
    }

    @Test
    void namesItsImplementation() {
        new NativeArena(2).close();
        long handle = CpuNative.matmulCreate(64, 64, 64, false, false, true, false, 0);
        String name = CpuNative.matmulImplementation(handle);
        assertTrue(!name.isBlank() && !name.contains("ref"), name);
        assertThrows(IllegalArgumentException.class, () -> CpuNative.matmulRun(handle, 0, 0, 0, 0, 0, 0));
        CpuNative.matmulDestroy(handle);
    }
}
