package io.brazier.collective;

import java.nio.FloatBuffer;
import java.util.Random;

/** Native f32 memory between guard values. */
final class Floats implements AutoCloseable {

    private static final int GUARD = 16;
    private static final float GUARD_VALUE = -12345.678f;

    private final int count;
    private final long bytes;
    private final long memory;
    private final FloatBuffer values;

    Floats(int count) {
        this.count = count;
        this.bytes = (long) Float.BYTES * (count + 2 * GUARD);
        this.memory = SharedMemory.anonymous(bytes);
        this.values = SharedMemory.view(memory, bytes).asFloatBuffer();
        for (int x = 0; x < GUARD; x++) {
            values.put(x, GUARD_VALUE).put(GUARD + count + x, GUARD_VALUE);
        }
    }

    static Floats of(float[] initial) {
        Floats floats = new Floats(initial.length);
        floats.values.put(GUARD, initial);
        return floats;
    }

    /** Values of rank's input, the same for the same arguments. */
    static float[] random(int rank, int count, long seed) {
        Random random = new Random(seed * 1_000_003 + rank);
        float[] values = new float[count];
        for (int x = 0; x < count; x++) {
            values[x] = (random.nextFloat() - 0.5f) * (1 << random.nextInt(16));
        }
        return values;
    }

    long address() {
        return memory + (long) Float.BYTES * GUARD;
    }

    /** The values; refuses when something wrote beside them. */
    float[] get() {
        for (int x = 0; x < GUARD; x++) {
            if (values.get(x) != GUARD_VALUE || values.get(GUARD + count + x) != GUARD_VALUE) {
                throw new AssertionError("something wrote beside the " + count + " values");
            }
        }
        float[] result = new float[count];
        values.get(GUARD, result);
        return result;
    }

    @Override
    public void close() {
        SharedMemory.unmap(memory, bytes);
    }
}
