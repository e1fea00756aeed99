package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.brazier.host.NativeLibrary;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Native operands for tests: each lies between guard bands at an address aligned to 4 bytes only, outputs start as NaN, and
 * {@link #close} fails when a guard was touched.
 */
final class NativeArena implements AutoCloseable {
    private static final int BYTES = 48 << 20;
    private static final int GUARD = 68;
    private static final byte MARK = 0x5A;

    private record Operand(int offset, int bytes) {}

    private final long base;
    private final ByteBuffer memory;
    private final List<Operand> operands = new ArrayList<>();
    private final Random random;
    private int used;

    NativeArena(long seed) {
        NativeLibrary.Availability library = NativeLibrary.availability();
        // A CPU without the instruction set that this JVM was told to use has nothing to test.
        assumeTrue(
                library.available() || !library.reason().orElse("").contains("BRAZIER_CPU_ISA"),
                () -> library.reason().orElse(""));
        base = CpuNative.allocate(BYTES);
        memory = CpuNative.wrap(base, BYTES);
        random = new Random(seed);
    }

    private int reserve(int bytes) {
        for (int i = 0; i < GUARD; i++) {
            memory.put(used + i, MARK);
            memory.put(used + GUARD + bytes + i, MARK);
        }
        Operand operand = new Operand(used + GUARD, bytes);
        operands.add(operand);
        used += (bytes + 2 * GUARD + 3) / 4 * 4;
        return operand.offset;
    }

    long floats(float... values) {
        int offset = reserve(4 * values.length);
        for (int i = 0; i < values.length; i++) {
            memory.putFloat(offset + 4 * i, values[i]);
        }
        return base + offset;
    }

    long ints(int... values) {
        int offset = reserve(4 * values.length);
        for (int i = 0; i < values.length; i++) {
            memory.putInt(offset + 4 * i, values[i]);
        }
        return base + offset;
    }

    long longs(long... values) {
        int offset = reserve(8 * values.length);
        for (int i = 0; i < values.length; i++) {
            memory.putLong(offset + 8 * i, values[i]);
        }
        return base + offset;
    }

    /** An output of f32 filled with NaN. */
    long output(int count) {
        float[] poison = new float[count];
        java.util.Arrays.fill(poison, Float.NaN);
        return floats(poison);
    }

    /** Scratch aligned to 64 bytes and filled with NaN. */
    long scratch(long bytes) {
        int count = (int) (bytes / 4 + 16);
        return (output(count) + 63) / 64 * 64;
    }

    float[] normal(int count, double deviation) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = (float) (deviation * random.nextGaussian());
        }
        return values;
    }

    int[] integers(int count, int bound) {
        return random.ints(count, 0, bound).toArray();
    }

    float[] read(long address, int count) {
        float[] values = new float[count];
        for (int i = 0; i < count; i++) {
            values[i] = memory.getFloat((int) (address - base) + 4 * i);
        }
        return values;
    }

    double readDouble(long address) {
        return memory.getDouble((int) (address - base));
    }

    /** Fails unless |actual - expected| <= tolerance (|expected| + largest |expected|) everywhere. */
    void check(String what, double[] expected, long actual, double tolerance) {
        double largest = 0;
        for (double value : expected) {
            largest = Math.max(largest, Math.abs(value));
        }
        float[] values = read(actual, expected.length);
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(values[i] - expected[i]);
            int index = i;
            assertTrue(
                    error <= tolerance * (Math.abs(expected[i]) + largest),
                    () -> what + " on " + CpuNative.isa() + ": element " + index + " is " + values[index] + " and not "
                            + expected[index]);
        }
    }

    void checkSame(String what, float[] expected, long actual) {
        float[] values = read(actual, expected.length);
        for (int i = 0; i < expected.length; i++) {
            assertEquals(
                    Float.floatToRawIntBits(expected[i]), Float.floatToRawIntBits(values[i]), what + " element " + i);
        }
    }

    @Override
    public void close() {
        for (Operand operand : operands) {
            for (int i = 0; i < GUARD; i++) {
                assertEquals(MARK, memory.get(operand.offset - 1 - i), "a kernel wrote before " + operand);
                assertEquals(MARK, memory.get(operand.offset + operand.bytes + i), "a kernel wrote behind " + operand);
            }
        }
        CpuNative.free(base, BYTES);
    }
}
