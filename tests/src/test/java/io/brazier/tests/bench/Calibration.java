package io.brazier.tests.bench;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.collective.Communicator;
import io.brazier.collective.ElementType;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuNative;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.Function;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.function.DoubleSupplier;
import java.util.stream.IntStream;

/** Measures this machine for the clock: two ranks of one thread, both at work whenever something is timed. */
final class Calibration {
    private static final int NUM_RANKS = 2;
    private static final double SECONDS = 0.15;
    private static final int TILE_ROWS = 16;
    private static final int TILE_COLUMNS = 64;
    /** As large as activations of the cases, and larger than the caches that cores have of their own. */
    private static final int STREAM_BYTES = 8 << 20;

    private static final int VECTOR_COUNT = 1 << 16;
    private static final int SUM_BYTES = 32 << 20;

    /** Seconds of a product and what its price is made of. */
    private record Timed(double paddedFlops, double numTiles, double seconds) {}

    private Calibration() {}

    /** A hardware file. */
    static ObjectNode measure() {
        List<Timed> products = new ArrayList<>();
        for (int rows : new int[] {128, 512, 2048}) {
            for (int columns : new int[] {256, 1024}) {
                for (int contracted : new int[] {64, 256, 1024}) {
                    products.add(product(rows, columns, contracted));
                }
            }
        }
        double[] fit = fit(products);
        double peak = 1 / fit[0];
        ObjectNode node = Json.mapper().createObjectNode();
        node.put("name", "one thread of this machine, " + CpuNative.isa());
        node.putObject("peakFlopsPerSecond").put("bf16", peak).put("f32", peak);
        TensorType vector = TensorType.of(DType.F32, VECTOR_COUNT);
        double vectorSeconds = onBoth(
                () -> withMemory(2L * vector.bytes(), (x) -> CpuNative.gelu(x, x + vector.bytes(), VECTOR_COUNT)));
        node.put("vectorFlopsPerSecond", new Activate(Function.GELU_TANH).flops(List.of(vector)) / vectorSeconds);
        node.put("numProcessors", 1).put("memoryBytes", Runtime.getRuntime().maxMemory());
        double copySeconds =
                onBoth(() -> withMemory(2L * STREAM_BYTES, x -> CpuNative.copy(x, x + STREAM_BYTES, STREAM_BYTES)));
        node.put("memoryBytesPerSecond", 2.0 * STREAM_BYTES / copySeconds).put("memoryFraction", 1);
        node.put("kernelSeconds", onBoth(() -> withMemory(256, x -> CpuNative.add(x, x + 64, x + 128, 16))));
        // What two threads of one machine do differently is in what is measured.
        node.put("rateDeviation", 0);
        ObjectNode tiles = node.putObject("products")
                .put("peakFraction", 1)
                .put("operandBytesPerSecond", 1e15)
                .put("fillSeconds", fit[1])
                .put("exposedStoreFraction", 0);
        tiles.putArray("tiles")
                .addObject()
                .put("rows", TILE_ROWS)
                .put("columns", TILE_COLUMNS)
                .put("processors", 1);
        attention(node.putObject("attention"), peak);
        network(node.putObject("network"));
        node.putObject("sources").put("all", "measured by bin/bench prediction");
        return node;
    }

    private static Timed product(int m, int n, int k) {
        double seconds = onBoth(() -> {
            long handle = CpuNative.matmulCreate(m, n, k, false, false, false, false, CpuNative.ACTIVATION_NONE);
            long operands = 4L * ((long) m * k + (long) k * n + (long) m * n);
            long scratch = Math.max(64, CpuNative.matmulScratchBytes(handle));
            try {
                return withMemory(
                        operands + scratch,
                        x -> CpuNative.matmulRun(handle, x, x + 4L * m * k, 0, 0, x + 4L * k * (m + n), x + operands));
            } finally {
                CpuNative.matmulDestroy(handle);
            }
        });
        double numTiles = Math.ceil((double) m / TILE_ROWS) * Math.ceil((double) n / TILE_COLUMNS);
        return new Timed(2.0 * TILE_ROWS * TILE_COLUMNS * k * numTiles, numTiles, seconds);
    }

    /** Seconds of a FLOP and of half of what a tile costs beside its FLOPs: least squares of the relative errors. */
    private static double[] fit(List<Timed> products) {
        double xx = 0;
        double xz = 0;
        double zz = 0;
        double x = 0;
        double z = 0;
        for (Timed t : products) {
            double u = t.paddedFlops() / t.seconds();
            double v = 2 * t.numTiles() / t.seconds();
            xx += u * u;
            xz += u * v;
            zz += v * v;
            x += u;
            z += v;
        }
        double determinant = xx * zz - xz * xz;
        double perTile = (z * xx - x * xz) / determinant;
        return perTile > 0 ? new double[] {(x * zz - z * xz) / determinant, perTile} : new double[] {x / xx, 0};
    }

    private static void attention(ObjectNode node, double peak) {
        int b = 2;
        int t = 128;
        int h = 4;
        int k = 64;
        CausalAttention op = new CausalAttention(new Heads(h, h, k, 0.125));
        double flops = op.flops(List.of(TensorType.of(DType.F32, b, t, 3L * h * k)));
        long o = 4L * b * t * 3 * h * k;
        long lse = o + o / 3;
        long gradient = lse + 4L * b * h * t;
        long end = gradient + o / 3 + o;
        long scratch = Math.max(
                CpuNative.attentionScratchBytes(b, t, h, h, k, 1),
                CpuNative.attentionGradScratchBytes(b, t, h, h, k, 1));
        double forward = onBoth(() ->
                withMemory(end + scratch, x -> CpuNative.attention(x, x + o, x + lse, x + end, b, t, h, h, k, 0.125f)));
        double backward = onBoth(() -> withMemory(
                end + scratch,
                x -> CpuNative.attentionGrad(
                        x, x + o, x + lse, x + gradient, x + gradient + o / 3, x + end, b, t, h, h, k, 0.125f)));
        node.put("forwardFraction", Math.min(1, flops / forward / peak));
        node.put("backwardFraction", Math.min(1, 2.5 * flops / backward / peak));
        node.put("rampTokens", 1);
    }

    /** A sum of two ranks sends all bytes once each way, in two hops. */
    private static void network(ObjectNode node) {
        double[] seconds = new double[2];
        List<Communicator> ranks = CpuCommunicators.local(NUM_RANKS, Duration.ofSeconds(60));
        together(rank -> {
            Communicator c = ranks.get(rank);
            double large = withMemory(SUM_BYTES, 20, x -> c.allReduce(x, SUM_BYTES / 4, ElementType.F32)
                    .await());
            double small = withMemory(
                    SUM_BYTES, 2000, x -> c.allReduce(x, 64, ElementType.F32).await());
            if (rank == 0) {
                seconds[0] = large;
                seconds[1] = small;
            }
            return large;
        });
        ranks.forEach(c -> c.abort("measured"));
        node.put("callSeconds", 0);
        node.putArray("tiers")
                .addObject()
                .put("name", "shared memory")
                .put("numRanks", NUM_RANKS)
                .put("bytesPerSecond", SUM_BYTES / (seconds[0] - seconds[1]))
                .put("busFraction", 1)
                .put("latencySeconds", seconds[1] / 2)
                // The worker that moves the bytes shares the core with the thread that computes.
                .put("processorFraction", 0.5);
    }

    private interface Kernel {
        void run(long memory);
    }

    private interface OnRank {
        double measure(int rank);
    }

    private static double withMemory(long bytes, Kernel kernel) {
        return withMemory(bytes, 0, kernel);
    }

    /** Seconds of a kernel's fastest run, of a number of runs or of as many as fit into a time. */
    private static double withMemory(long bytes, int numRuns, Kernel kernel) {
        CpuNative.setNumThreads(1);
        long memory = CpuNative.allocate(bytes);
        CpuNative.fill(memory, bytes / 4, 1e-3f);
        try {
            kernel.run(memory);
            List<Double> seconds = new ArrayList<>();
            long start = System.nanoTime();
            while (numRuns > 0
                    ? seconds.size() < numRuns
                    : seconds.size() < 3 || System.nanoTime() - start < SECONDS * 1e9) {
                long begin = System.nanoTime();
                kernel.run(memory);
                seconds.add((System.nanoTime() - begin) / 1e9);
            }
            return seconds.stream()
                    .sorted()
                    .skip(seconds.size() / 2)
                    .findFirst()
                    .orElseThrow();
        } finally {
            CpuNative.free(memory, bytes);
        }
    }

    private static double onBoth(DoubleSupplier measured) {
        return together(rank -> measured.getAsDouble());
    }

    /** The mean of what two threads measure at the same time. */
    private static double together(OnRank measured) {
        List<CompletableFuture<Double>> running = IntStream.range(0, NUM_RANKS)
                .mapToObj(rank ->
                        CompletableFuture.supplyAsync(() -> measured.measure(rank), work -> new Thread(work).start()))
                .toList();
        return running.stream().mapToDouble(CompletableFuture::join).average().orElseThrow();
    }
}
