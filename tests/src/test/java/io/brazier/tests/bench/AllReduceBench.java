package io.brazier.tests.bench;

import io.brazier.collective.Communicator;
import io.brazier.collective.ElementType;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuNative;
import io.brazier.tests.collective.RankProcesses;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.Locale;

/**
 * Times the all-reduce of one large f32 buffer between processes, over shared memory and over TCP on the loopback interface.
 * Speed is the buffer's bytes over the slowest rank's median seconds. {@code --ranks 2 --megabytes 500 --repeats 9}.
 */
public final class AllReduceBench {

    private AllReduceBench() {}

    public static void main(String[] arguments) throws IOException {
        Flags flags = Flags.parse(arguments, "ranks", "megabytes", "repeats");
        int ranks = flags.integer("ranks", 2);
        int megabytes = flags.integer("megabytes", 500);
        int repeats = flags.integer("repeats", 9);
        System.out.println(
                "| transport | ranks | MB | median s | best s | GB/s (median) | GB/s (best) | 256-byte all-reduce, us |");
        System.out.println("|---|---|---|---|---|---|---|---|");
        double shared = measure(Transport.SHARED_MEMORY, ranks, megabytes, repeats);
        double tcp = measure(Transport.TCP, ranks, megabytes, repeats);
        System.out.printf(Locale.ROOT, "RESULT allReduce sharedMemoryGBps=%.2f tcpGBps=%.2f%n", shared, tcp);
    }

    private static double measure(Transport transport, int ranks, int megabytes, int repeats) throws IOException {
        try (RankProcesses group = RankProcesses.start(
                Rank.class, ranks, transport, Integer.toString(megabytes), Integer.toString(repeats))) {
            double[] slowest = new double[3];
            for (int rank = 0; rank < ranks; rank++) {
                String[] words = group.hear(rank).split(" ");
                for (int x = 0; x < slowest.length; x++) {
                    slowest[x] = Math.max(slowest[x], Double.parseDouble(words[x]));
                }
            }
            double gigabytes = megabytes / 1e3;
            System.out.printf(
                    Locale.ROOT,
                    "| %s | %d | %d | %.4f | %.4f | %.2f | %.2f | %.1f |%n",
                    transport,
                    ranks,
                    megabytes,
                    slowest[0],
                    slowest[1],
                    gigabytes / slowest[0],
                    gigabytes / slowest[1],
                    1e6 * slowest[2]);
            return gigabytes / slowest[0];
        }
    }

    /** One rank: prints median and best seconds of the large sum and mean seconds of a small one. */
    public static final class Rank {

        private static final int SMALL_REPEATS = 2000;
        private static final int SMALL_COUNT = 64;
        private static final float INITIAL = 1e-3f;

        private Rank() {}

        public static void main(String[] arguments) throws IOException {
            long bytes = Long.parseLong(arguments[0]) * 1_000_000;
            int repeats = Integer.parseInt(arguments[1]);
            try (Communicator communicator = RankProcesses.join(Duration.ofSeconds(60))) {
                long address = CpuNative.allocate(bytes);
                CpuNative.fill(address, bytes / Float.BYTES, INITIAL);
                communicator
                        .allReduce(address, bytes / Float.BYTES, ElementType.F32)
                        .await();
                double[] seconds = new double[repeats];
                for (int x = 0; x < repeats; x++) {
                    communicator.barrier();
                    long begin = System.nanoTime();
                    communicator
                            .allReduce(address, bytes / Float.BYTES, ElementType.F32)
                            .await();
                    seconds[x] = (System.nanoTime() - begin) / 1e9;
                }
                Arrays.sort(seconds);
                long begin = System.nanoTime();
                for (int x = 0; x < SMALL_REPEATS; x++) {
                    communicator
                            .allReduce(address, SMALL_COUNT, ElementType.F32)
                            .await();
                }
                double small = (System.nanoTime() - begin) / 1e9 / SMALL_REPEATS;
                check(communicator, address, bytes, repeats);
                System.out.println(seconds[repeats / 2] + " " + seconds[0] + " " + small);
                communicator.barrier();
                CpuNative.free(address, bytes);
            }
        }

        /** A speed counts only if every element is what adding in rank order gives. The small sums changed the first few. */
        private static void check(Communicator communicator, long address, long bytes, int repeats) {
            float want = INITIAL;
            for (int x = 0; x <= repeats; x++) {
                float sum = want;
                for (int rank = 1; rank < communicator.size(); rank++) {
                    sum += want;
                }
                want = sum;
            }
            FloatBuffer values = CpuNative.wrap(address, Math.toIntExact(bytes)).asFloatBuffer();
            for (int x = SMALL_COUNT; x < values.limit(); x++) {
                if (values.get(x) != want || Float.isInfinite(want)) {
                    throw new AssertionError("rank " + communicator.rank() + ", element " + x + ": " + values.get(x)
                            + " where the sum is " + want);
                }
            }
        }
    }
}
