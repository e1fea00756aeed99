package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Groups.Wiring;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import java.util.function.BiFunction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Sums of f64 and bf16, and gathers of bytes, against plain loops. */
class ElementTypeTest {

    private static final int SIZE = 3;
    private static final int[] COUNTS = {0, 3, 1023, 3 * Link.SLOT_BYTES + 3};

    /** Native memory of bytes. */
    private record Memory(long address, ByteBuffer bytes) implements AutoCloseable {

        static Memory of(int numBytes) {
            long address = SharedMemory.anonymous(numBytes + 1L);
            return new Memory(address, SharedMemory.view(address, numBytes + 1L).limit(numBytes));
        }

        @Override
        public void close() {
            SharedMemory.unmap(address, bytes.capacity());
        }
    }

    private static double[] doubles(int rank, int count) {
        Random random = new Random(1000L * count + rank);
        return random.doubles(count).map(x -> (x - 0.5) * (1 << 20)).toArray();
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void f64IsSummedInRankOrder(Wiring wiring) throws Exception {
        Groups.run(wiring, SIZE, communicator -> {
            for (int count : COUNTS) {
                double[] want = doubles(0, count);
                for (int rank = 1; rank < SIZE; rank++) {
                    double[] x = doubles(rank, count);
                    Arrays.setAll(want, i -> want[i] + x[i]);
                }
                double[] own = doubles(communicator.rank(), count);
                double[] got = new double[count];
                try (Memory x = Memory.of(8 * count)) {
                    x.bytes.asDoubleBuffer().put(own);
                    communicator.allReduce(x.address, count, ElementType.F64).await();
                    x.bytes.asDoubleBuffer().get(got);
                    assertArrayEquals(want, got);

                    x.bytes.asDoubleBuffer().put(own);
                    communicator
                            .reduceScatter(x.address, count, ElementType.F64)
                            .await();
                    x.bytes.asDoubleBuffer().get(got);
                    int begin = communicator.rank() * count / SIZE;
                    System.arraycopy(want, begin, own, begin, count / SIZE);
                    assertArrayEquals(own, got);
                }
            }
            return null;
        });
    }

    private static float widen(int bf16) {
        return Float.intBitsToFloat(bf16 << 16);
    }

    /** The nearer of the two bf16 beside a finite value, or the even one of two that are as near. */
    private static int nearest(float value) {
        int toZero = Float.floatToRawIntBits(value) >>> 16;
        // Neighbours of one sign have neighbouring bits; the step of an infinity's neighbour is that of the largest
        // values.
        double low = widen(toZero);
        double step = Math.abs(Float.isInfinite(widen(toZero + 1)) ? low - widen(toZero - 1) : low - widen(toZero + 1));
        double rest = Math.abs(value - low);
        boolean up = rest > step / 2 || rest == step / 2 && toZero % 2 == 1;
        return up ? toZero + 1 : toZero;
    }

    private static short[] halves(int rank, int count) {
        Random random = new Random(7L * count + rank);
        short[] values = new short[count];
        for (int i = 0; i < count; i++) {
            // All exponents but the largest, so that sums stay finite; ranks differ by little, so that sums tie.
            int exponent = i % 254;
            values[i] = (short)
                    (random.nextInt(2) << 15 | Math.max(0, exponent - random.nextInt(3)) << 7 | random.nextInt(4) << 5);
        }
        return values;
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void bf16IsSummedInF32AndRoundedOnce(Wiring wiring) throws Exception {
        Groups.run(wiring, SIZE, communicator -> {
            for (int count : COUNTS) {
                float[] sum = new float[count];
                for (int rank = 0; rank < SIZE; rank++) {
                    short[] x = halves(rank, count);
                    for (int i = 0; i < count; i++) {
                        sum[i] = rank == 0 ? widen(x[i]) : sum[i] + widen(x[i]);
                    }
                }
                try (Memory x = Memory.of(2 * count)) {
                    x.bytes.asShortBuffer().put(halves(communicator.rank(), count));
                    communicator.allReduce(x.address, count, ElementType.BF16).await();
                    for (int i = 0; i < count; i++) {
                        assertEquals((short) nearest(sum[i]), x.bytes.getShort(2 * i), "sum " + sum[i]);
                    }
                }
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void bf16KeepsWhatIsNotFinite(Wiring wiring) throws Exception {
        // Infinity, a NaN whose bits lie below the cut, infinity less infinity, an overflow.
        int[][] operands = {{0x7f80, 0x3f80}, {0x7f81, 0}, {0x7f80, 0xff80}, {0x7f7f, 0x7f7f}, {0xff7f, 0xff7f}};
        Groups.run(wiring, 2, communicator -> {
            try (Memory x = Memory.of(2 * operands.length)) {
                for (int i = 0; i < operands.length; i++) {
                    x.bytes.putShort(2 * i, (short) operands[i][communicator.rank()]);
                }
                communicator
                        .allReduce(x.address, operands.length, ElementType.BF16)
                        .await();
                for (int i = 0; i < operands.length; i++) {
                    float want = widen(operands[i][0]) + widen(operands[i][1]);
                    assertEquals(want, widen(x.bytes.getShort(2 * i)), "operands " + i);
                }
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void allGatherTakesPartsOfAnySizes(Wiring wiring) throws Exception {
        List<long[]> sizes = List.of(
                new long[] {0, 0, 0}, new long[] {1, 0, 2}, new long[] {0, 0, 3L * Link.SLOT_BYTES + 1}, new long[] {
                    7 * Link.SLOT_BYTES, Link.SLOT_BYTES - 1, 1
                });
        Groups.run(wiring, SIZE, communicator -> {
            for (long[] parts : sizes) {
                byte[] want = new byte[(int) Arrays.stream(parts).sum()];
                new Random(want.length).nextBytes(want);
                int begin = (int) Arrays.stream(parts, 0, communicator.rank()).sum();
                try (Memory x = Memory.of(want.length)) {
                    x.bytes.put(begin, want, begin, (int) parts[communicator.rank()]);
                    communicator.allGather(x.address, parts).await();
                    byte[] got = new byte[want.length];
                    x.bytes.get(0, got);
                    assertArrayEquals(want, got);
                }
            }
            assertThrows(IllegalArgumentException.class, () -> communicator.allGather(64, new long[] {1, 2}));
            assertThrows(IllegalArgumentException.class, () -> communicator.allGather(64, new long[] {1, -1, 2}));
            assertThrows(IllegalArgumentException.class, () -> communicator.allGather(64, 4));
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentTypesAndPartsAreErrors(Wiring wiring) throws Exception {
        // Of the same bytes together, so that only the types, or the parts, differ.
        List<BiFunction<Communicator, Memory, Work>> calls = List.of(
                (communicator, x) -> communicator.rank() == 0
                        ? communicator.allReduce(x.address, 4, ElementType.F32)
                        : communicator.allReduce(x.address, 2, ElementType.F64),
                (communicator, x) -> communicator.rank() == 0
                        ? communicator.allGather(x.address, new long[] {8, 8})
                        : communicator.allGather(x.address, new long[] {4, 12}));
        for (BiFunction<Communicator, Memory, Work> call : calls) {
            List<CollectiveException> failures = Groups.run(wiring, 2, communicator -> {
                try (Memory x = Memory.of(16)) {
                    return assertThrows(CollectiveException.class, () -> {
                        call.apply(communicator, x).await();
                        communicator.barrier();
                    });
                }
            });
            assertTrue(
                    failures.stream().anyMatch(failure -> failure.category() == Category.MISMATCH), failures::toString);
        }
    }
}
