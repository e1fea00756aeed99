package io.brazier.tests.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.CollectiveException;
import io.brazier.collective.Communicator;
import io.brazier.collective.ElementType;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuNative;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.Base64;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;
import org.apache.commons.math3.linear.ArrayRealVector;
import org.apache.commons.math3.linear.RealVector;
import org.apache.commons.math3.random.MersenneTwister;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Ranks that are processes: their sums against Apache Commons Math, and what the others see when one is killed. */
class ProcessesTest {

    private static final int COUNT = 234_567;
    private static final long LIMIT_SECONDS = 30;

    /** Of rank's input, whole numbers below 2^20 in size, so that f32 sums of up to 16 ranks are exact. */
    private static double[] input(int rank) {
        MersenneTwister random = new MersenneTwister(rank + 1);
        double[] values = new double[COUNT];
        for (int x = 0; x < COUNT; x++) {
            values[x] = random.nextInt(1 << 20) - (1 << 19);
        }
        return values;
    }

    /** Sums its input with the others', or in a named group of every other rank, and prints the sum; then sums until it fails. */
    public static final class Rank {

        private Rank() {}

        public static void main(String[] arguments) throws IOException {
            Communicator all = RankProcesses.join(Duration.ofSeconds(LIMIT_SECONDS));
            int rank = all.rank();
            Communicator communicator = arguments.length == 0
                    ? all
                    : all.group(
                            arguments[0],
                            IntStream.range(0, all.size())
                                    .filter(other -> other % 2 == rank % 2)
                                    .toArray());
            long address = CpuNative.allocate(4L * COUNT);
            FloatBuffer values = CpuNative.wrap(address, 4 * COUNT).asFloatBuffer();
            double[] own = input(rank);
            for (int x = 0; x < COUNT; x++) {
                values.put(x, (float) own[x]);
            }
            communicator.allReduce(address, COUNT, ElementType.F32).await();
            byte[] bytes = new byte[4 * COUNT];
            CpuNative.wrap(address, 4 * COUNT).get(bytes);
            System.out.println(Base64.getEncoder().encodeToString(bytes));
            try {
                while (true) {
                    communicator.allReduce(address, COUNT, ElementType.F32).await();
                }
            } catch (CollectiveException e) {
                System.out.println(e.category() + " | " + e.getMessage());
            }
            all.close();
        }
    }

    private static float[] floats(String line) {
        byte[] bytes = Base64.getDecoder().decode(line);
        float[] values = new float[bytes.length / 4];
        java.nio.ByteBuffer.wrap(bytes)
                .order(java.nio.ByteOrder.nativeOrder())
                .asFloatBuffer()
                .get(values);
        return values;
    }

    @ParameterizedTest
    @CsvSource({"SHARED_MEMORY, 2", "AUTO, 4", "TCP, 3"})
    void processesSumAsCommonsMathDoes(Transport transport, int size) throws Exception {
        RealVector want = new ArrayRealVector(COUNT);
        for (int rank = 0; rank < size; rank++) {
            want = want.add(new ArrayRealVector(input(rank), false));
        }
        try (RankProcesses group = RankProcesses.start(Rank.class, size, transport)) {
            for (int rank = 0; rank < size; rank++) {
                float[] got = floats(group.hear(rank));
                double[] widened = new double[COUNT];
                for (int x = 0; x < COUNT; x++) {
                    widened[x] = got[x];
                }
                assertArrayEquals(want.toArray(), widened, 0, "rank " + rank);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(
            value = Transport.class,
            names = {"SHARED_MEMORY", "TCP"})
    void aKilledProcessIsMissedByAllOthers(Transport transport) throws Exception {
        int size = 3;
        try (RankProcesses group = RankProcesses.start(Rank.class, size, transport)) {
            for (int rank = 0; rank < size; rank++) {
                group.hear(rank);
            }
            group.process(1).destroyForcibly();
            assertAllHear(group, 0, 2);
        }
    }

    private static void assertAllHear(RankProcesses group, int... ranks) throws Exception {
        for (int rank : ranks) {
            CompletableFuture<String> outcome = CompletableFuture.supplyAsync(() -> {
                try {
                    return group.hear(rank);
                } catch (IOException e) {
                    return e.toString();
                }
            });
            String line = outcome.get(LIMIT_SECONDS / 3, TimeUnit.SECONDS);
            assertTrue(line.startsWith("peer lost") || line.startsWith("aborted"), line);
            assertTrue(line.contains("rank 1"), line);
            assertTrue(group.process(rank).waitFor(LIMIT_SECONDS, TimeUnit.SECONDS));
            assertEquals(0, group.process(rank).exitValue());
        }
    }

    /** Ranks 0 and 2 exchange nothing with rank 1 in their group, and hear of its end all the same. */
    @ParameterizedTest
    @EnumSource(
            value = Transport.class,
            names = {"SHARED_MEMORY", "TCP"})
    void groupsOfProcessesSumAndEndTogether(Transport transport) throws Exception {
        int size = 4;
        try (RankProcesses group = RankProcesses.start(Rank.class, size, transport, "parity")) {
            for (int rank = 0; rank < size; rank++) {
                double[] want = new ArrayRealVector(input(rank % 2))
                        .add(new ArrayRealVector(input(rank % 2 + 2)))
                        .toArray();
                float[] got = floats(group.hear(rank));
                for (int x = 0; x < COUNT; x++) {
                    assertEquals(want[x], got[x], "rank " + rank);
                }
            }
            group.process(1).destroyForcibly();
            assertAllHear(group, 0, 2, 3);
        }
    }
}
