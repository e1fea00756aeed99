package io.brazier.train;

import io.brazier.cpu.CpuNative;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import java.nio.FloatBuffer;
import java.util.HashMap;
import java.util.Map;

/** The weights of one moment that this rank keeps, in host memory: 4 bytes for each. */
final class WeightsCopy implements AutoCloseable {
    private static final int CHUNK = 1 << 18;

    private final TrainingEngine engine;
    private final Map<String, Long> firstElement = new HashMap<>();
    private final long bytes;
    private final long address;

    WeightsCopy(TrainingEngine engine) {
        this.engine = engine;
        long numElements = 0;
        for (Parameter p : engine.parameters()) {
            firstElement.put(p.name(), numElements);
            numElements += p.numElements();
        }
        this.bytes = numElements * Float.BYTES;
        this.address = CpuNative.allocate(bytes);
    }

    /** Takes the weights that the engine has now. */
    void take() {
        forEachChunk((p, offset, chunk) -> engine.read(p, State.WEIGHT, offset, chunk));
    }

    /** Gives the engine the weights that were taken. Collective. */
    void restore() {
        forEachChunk((p, offset, chunk) -> engine.write(p, State.WEIGHT, offset, chunk));
        engine.publish();
    }

    /** A window of one parameter, at most {@link #CHUNK} elements. */
    FloatBuffer window(Parameter p, long offset, int count) {
        long start = address + (firstElement.get(p.name()) + offset) * Float.BYTES;
        return CpuNative.wrap(start, count * Float.BYTES).asFloatBuffer();
    }

    private interface ChunkAction {
        void apply(Parameter p, long offset, FloatBuffer chunk);
    }

    private void forEachChunk(ChunkAction action) {
        for (Parameter p : engine.parameters()) {
            for (long offset = 0; offset < p.numElements(); offset += CHUNK) {
                int count = (int) Math.min(CHUNK, p.numElements() - offset);
                action.apply(p, offset, window(p, offset, count));
            }
        }
    }

    @Override
    public void close() {
        CpuNative.free(address, bytes);
    }
}
