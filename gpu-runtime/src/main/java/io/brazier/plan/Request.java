package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.RankView;

/**
 * What a training rank is planned for.
 *
 * @param microBatchSize B, rows of a micro-batch on this rank
 * @param sequenceLength T
 */
public record Request(
        Model model,
        Layout layout,
        int rank,
        int microBatchSize,
        int numMicroBatches,
        int sequenceLength,
        double dropout,
        double weightDecay) {

    /** The same for another rank. */
    public Request at(int other) {
        return new Request(model, layout, other, microBatchSize, numMicroBatches, sequenceLength, dropout, weightDecay);
    }

    /** The same under another layout. */
    public Request under(Layout other, int rowsOfMicroBatch) {
        return new Request(model, other, rank, rowsOfMicroBatch, numMicroBatches, sequenceLength, dropout, weightDecay);
    }

    RankView view() {
        return layout.view(rank);
    }

    /** Weight of one token's loss in the mean over the global batch. */
    double lossScale() {
        return 1.0 / ((double) microBatchSize * numMicroBatches * view().dataSize() * sequenceLength);
    }
}
