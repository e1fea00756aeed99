package io.brazier.exec;

import io.brazier.tensor.Range;
import io.brazier.tensor.Shard;
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
     * @param balanceLoss what spreads tokens over experts adds to the loss, in backward alone
     * @param droppedTokens assignments of tokens for which experts had no slot
     */
    record StepOutcome(double loss, double gradientNorm, boolean updated, double balanceLoss, long droppedTokens) {
        public StepOutcome(double loss, double gradientNorm, boolean updated) {
            this(loss, gradientNorm, updated, 0, 0);
        }
    }

    /** What is kept of a parameter between steps; gradients are those of the last step, summed over ranks, before clipping. */
    enum State {
        WEIGHT,
        GRADIENT,
        FIRST_MOMENT,
        SECOND_MOMENT
    }

    /**
     * What a rank keeps of a parameter of f32 elements.
     *
     * @param name path, for example {@code h.0.attn.c_attn.weight}
     * @param shard part of the whole parameter that products on this rank see
     * @param held elements of the shard, in its row-major order, whose state this rank keeps
     * @param replica number of this rank among those that keep the same elements
     * @param numReplicas how many keep the same
     */
    record Parameter(String name, Shard shard, Range held, int replica, int numReplicas) {
        /** Elements that this rank keeps. */
        public long numElements() {
            return held.length();
        }

        /** Shape of the whole parameter. */
        public List<Long> shape() {
            return shard.global().dims();
        }

        /** Visits kept elements [from, to) in runs that are contiguous in the whole parameter; local offsets count from held. */
        public void forEachRun(long from, long to, Shard.Run run) {
            shard.forEachRun(
                    held.start() + from,
                    held.start() + to,
                    (global, local, count) -> run.at(global, local - held.start(), count));
        }
    }

    /** Forward, backward, all-reduce and update of one global step (from 0). Collective. */
    StepOutcome step(long step, double learningRate, Feed feed);

    /**
     * This rank's part of the cross-entropy summed over the targets of one micro-batch, nats: the sum over all ranks is that of all
     * micro-batches. Collective.
     */
    double evaluate(IntBuffer tokens, IntBuffer targets);

    /** What this rank keeps, in a fixed order. */
    List<Parameter> parameters();

    /** Copies target.remaining() kept elements of a parameter's state, from kept element offset on, into target. */
    void read(Parameter parameter, State state, long offset, FloatBuffer target);

    /** Copies source.remaining() elements into a parameter's state, from kept element offset on. */
    void write(Parameter parameter, State state, long offset, FloatBuffer source);

    /**
     * Elements f32 that this rank keeps between steps beside its parameters: scales of products in eight bits, 0 where there are none. They
     * are of use to the same rank of the same layout alone, and a run that lacks them makes new ones.
     */
    long numScales();

    /** Copies target.remaining() elements of the scales, from one on, into target. */
    void readScales(long offset, FloatBuffer target);

    /** Copies source.remaining() elements into the scales, from one on. */
    void writeScales(long offset, FloatBuffer source);

    /** Makes weights that were written seen by products, on all ranks. Collective. */
    void publish();

    /** Bytes of the plan, which are also the bytes allocated. */
    long memoryBytes();

    /** The plan as text: memory by section, segments, schedule. */
    String describe();

    @Override
    void close();
}
