package io.brazier.exec;

import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.util.List;

/**
 * A model with its optimizer on one rank, laid out and ready to step. One thread uses it. Calls marked collective are made by
 * every rank in the same order.
 */
public interface TrainingEngine extends AutoCloseable {

    /** Fills the inputs of one micro-batch: tokens [B, T] and targets [B, T] (-1 = no loss). */
    interface Feed {
        void fill(int microBatch, IntBuffer tokens, IntBuffer targets);
    }

    /**
     * What a step gave, equal on all ranks.
     *
     * @param loss mean cross-entropy of the global batch, nats per token
     * @param gradientNorm global L2 norm before clipping
     * @param updated false when loss or gradient was not finite; the weights are then untouched
     */
    record StepOutcome(double loss, double gradientNorm, boolean updated) {}

    /** What is kept of a parameter between steps; gradients are those of the last step, summed over ranks, before clipping. */
    enum State {
        WEIGHT,
        GRADIENT,
        FIRST_MOMENT,
        SECOND_MOMENT
    }

    /**
     * A parameter of f32 elements.
     *
     * @param name path, for example {@code h.0.attn.c_attn.weight}
     */
    record Parameter(String name, List<Long> shape) {
        public long numElements() {
            return shape.stream().reduce(1L, Math::multiplyExact);
        }
    }

    /** Forward, backward, all-reduce and update of one global step (from 0). Collective. */
    StepOutcome step(long step, double learningRate, Feed feed);

    /** Sum of the cross-entropy over the targets of one micro-batch of this rank, nats; not collective. */
    double evaluate(IntBuffer tokens, IntBuffer targets);

    /** Parameters in a fixed order, the same on all ranks. */
    List<Parameter> parameters();

    /** Copies target.remaining() elements of a parameter's state, from element offset on, into target. */
    void read(Parameter parameter, State state, long offset, FloatBuffer target);

    /** Copies source.remaining() elements into a parameter's state, from element offset on. */
    void write(Parameter parameter, State state, long offset, FloatBuffer source);

    /** Bytes of the plan, which are also the bytes allocated. */
    long memoryBytes();

    /** The plan as text: memory by section, segments, schedule. */
    String describe();

    @Override
    void close();
}
