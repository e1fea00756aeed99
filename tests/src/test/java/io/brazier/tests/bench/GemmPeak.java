package io.brazier.tests.bench;

import io.brazier.cpu.CpuNative;

/** What fp32 matrix multiplication reaches on this machine at this moment, on a large shape of GPT-2's. */
final class GemmPeak {
    private static final int M = 1024;
    private static final int N = 3072;
    private static final int K = 768;
    private static final double SECONDS = 0.5;

    private GemmPeak() {}

    /** FLOP/s of the fastest of the products that fit into half a second. */
    static double measure(int numThreads) {
        long bytes = 4L * (M * K + K * N + M * N);
        long memory = CpuNative.allocate(bytes);
        CpuNative.setNumThreads(numThreads);
        CpuNative.fill(memory, bytes / 4, 0.5f);
        long product = CpuNative.matmulCreate(M, N, K, false, false, false, false, CpuNative.ACTIVATION_NONE);
        long scratchBytes = CpuNative.matmulScratchBytes(product);
        long scratch = scratchBytes > 0 ? CpuNative.allocate(scratchBytes) : 0;
        try {
            long w = memory + 4L * M * K;
            long y = w + 4L * K * N;
            double best = Double.MAX_VALUE;
            for (long start = System.nanoTime(); System.nanoTime() - start < SECONDS * 1e9; ) {
                long begin = System.nanoTime();
                CpuNative.matmulRun(product, memory, w, 0, 0, y, scratch);
                best = Math.min(best, (System.nanoTime() - begin) / 1e9);
            }
            return 2.0 * M * N * K / best;
        } finally {
            CpuNative.matmulDestroy(product);
            CpuNative.free(memory, bytes);
            if (scratch != 0) {
                CpuNative.free(scratch, scratchBytes);
            }
        }
    }
}
