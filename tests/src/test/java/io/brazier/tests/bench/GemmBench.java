package io.brazier.tests.bench;

import io.brazier.cpu.CpuNative;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.CompletableFuture;
import java.util.stream.DoubleStream;
import java.util.stream.IntStream;

/** The matrix products of GPT training steps and of decoding, beside the machine's fp32 multiply-add roof. */
public final class GemmBench {
    private static final double SECONDS = 0.3;
    private static final int[] THREADS = {1, 2};

    /** y[M, N] (+)= op(x) op(w), as {@link CpuNative#matmulCreate} takes it. */
    private record Product(
            String title,
            int m,
            int n,
            int k,
            boolean transposeX,
            boolean transposeW,
            boolean bias,
            boolean addend,
            int activation) {

        double flops() {
            return 2.0 * m * n * k;
        }

        /** Decoding reads every weight for a few rows: memory bounds it, so it stays out of the mean and the worst. */
        boolean decodes() {
            return m <= 8;
        }

        /** FLOP/s of the fastest run. */
        double measure(int numThreads) {
            CpuNative.setNumThreads(numThreads);
            long handle = CpuNative.matmulCreate(m, n, k, transposeX, transposeW, bias, addend, activation);
            long scratchBytes = CpuNative.matmulScratchBytes(handle);
            long floats = (long) m * k + (long) k * n + (long) m * n + n;
            long memory = CpuNative.allocate(4 * floats);
            long scratch = CpuNative.allocate(scratchBytes);
            try {
                CpuNative.fill(memory, floats, 1e-3f);
                long w = memory + 4L * m * k;
                long y = w + 4L * k * n;
                long b = bias ? y + 4L * m * n : 0;
                double best = Double.MAX_VALUE;
                int runs = 0;
                for (long start = System.nanoTime(); runs < 3 || System.nanoTime() - start < SECONDS * 1e9; runs++) {
                    long begin = System.nanoTime();
                    CpuNative.matmulRun(handle, memory, w, b, addend ? y : 0, y, scratch);
                    best = Math.min(best, (System.nanoTime() - begin) / 1e9);
                }
                return flops() / best;
            } finally {
                CpuNative.matmulDestroy(handle);
                CpuNative.free(memory, 4 * floats);
                CpuNative.free(scratch, scratchBytes);
            }
        }
    }

    private GemmBench() {}

    private static void layer(List<Product> products, String name, int m, int n, int k) {
        int activation = name.endsWith("up") ? CpuNative.ACTIVATION_GELU : CpuNative.ACTIVATION_NONE;
        products.add(new Product(name, m, n, k, false, false, true, false, activation));
        products.add(new Product(name + " dx", m, k, n, false, true, false, false, 0));
        products.add(new Product(name + " dw", k, n, m, true, false, false, true, 0));
    }

    private static void head(List<Product> products, int m, int v, int width) {
        products.add(new Product("head", m, v, width, false, true, false, false, 0));
        products.add(new Product("head dx", m, width, v, false, false, false, false, 0));
        products.add(new Product("head dw", v, width, m, true, false, false, true, 0));
    }

    private static List<Product> products() {
        List<Product> products = new ArrayList<>();
        for (int m : new int[] {256, 1024}) {
            layer(products, "qkv", m, 2304, 768);
            layer(products, "proj", m, 768, 768);
            layer(products, "up", m, 3072, 768);
            layer(products, "down", m, 768, 3072);
            head(products, m, 50257, 768);
        }
        layer(products, "small qkv", 2048, 768, 256);
        layer(products, "small proj", 2048, 256, 256);
        layer(products, "small up", 2048, 1024, 256);
        layer(products, "small down", 2048, 256, 1024);
        head(products, 2048, 4096, 256);
        for (int m : new int[] {1, 8}) {
            products.add(new Product("decode up", m, 3072, 768, false, false, true, false, 0));
            products.add(new Product("decode head", m, 50257, 768, false, true, false, false, 0));
        }
        return products;
    }

    private static double roof(int numThreads) {
        List<CompletableFuture<Double>> running = IntStream.range(0, numThreads)
                .mapToObj(x -> CompletableFuture.supplyAsync(
                        () -> CpuNative.measureFmaFlops(SECONDS), work -> new Thread(work).start()))
                .toList();
        return running.stream().mapToDouble(CompletableFuture::join).sum();
    }

    private static void print(String format, Object... values) {
        System.out.printf(Locale.ROOT, format + "%n", values);
    }

    /** Prints the table; takes no flags. */
    public static void main(String[] arguments) {
        Flags.parse(arguments);
        double[] roofs = IntStream.of(THREADS).mapToDouble(GemmBench::roof).toArray();
        print(
                "fp32 multiply-add roof: %.0f GFLOP/s on 1 thread, %.0f on 2 (%s)",
                roofs[0] / 1e9, roofs[1] / 1e9, CpuNative.isa());
        print("");
        print("| product | M | N | K | GFLOP/s, 1 thread | of roof | GFLOP/s, 2 threads | of roof |");
        print("|---|---|---|---|---|---|---|---|");
        DoubleStream.Builder fractions = DoubleStream.builder();
        for (Product p : products()) {
            double one = p.measure(1);
            double two = p.measure(2);
            print(
                    "| %s | %d | %d | %d | %.0f | %.0f %% | %.0f | %.0f %% |",
                    p.title, p.m, p.n, p.k, one / 1e9, 100 * one / roofs[0], two / 1e9, 100 * two / roofs[1]);
            if (!p.decodes()) {
                fractions.add(one / roofs[0]).add(two / roofs[1]);
            }
        }
        var summary = fractions.build().summaryStatistics();
        print("");
        print(
                "RESULT gemm peakGFLOPs=%.0f mean=%.3f worst=%.3f",
                roofs[0] / 1e9, summary.getAverage(), summary.getMin());
    }
}
