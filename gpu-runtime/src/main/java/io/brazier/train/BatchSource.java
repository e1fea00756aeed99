package io.brazier.train;

import java.nio.IntBuffer;

/**
 * The samples of one rank, in the order that the seed gives and whatever the partitioning. A sample is T token ids and the T
 * ids that follow them.
 */
public interface BatchSource extends AutoCloseable {

    /** A number that tells one text from another; the same for every number of ranks. */
    long fingerprint();

    /** Samples of the training split, over all ranks. */
    long numTrainingSamples();

    /** Samples of the validation split, over all ranks; may be 0. */
    long numValidationSamples();

    /**
     * Fetches the rows of this rank for micro-batches of a global step. A collective call: every rank makes it for the same
     * step in the same order.
     *
     * @param step global step, from 0
     * @param microBatch index of the micro-batch in the step
     * @param tokens receives [B, T] ids
     * @param targets receives [B, T] ids, -1 where no loss is taken
     */
    void readTraining(long step, int microBatch, IntBuffer tokens, IntBuffer targets);

    /**
     * Fetches the rows of this rank of validation batch x; rows past the end of the split have all targets -1. A collective call.
     */
    void readValidation(int x, IntBuffer tokens, IntBuffer targets);

    @Override
    void close();
}
