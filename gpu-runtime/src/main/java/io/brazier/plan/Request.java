package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.RankView;

/**
 * What a training rank is planned for.
 *
 * @param microBatchSize B, rows of a micro-batch on this rank
 * @param sequenceLength T
 * @param backward how products of backward are written
 */
public record Request(
        Model model,
        Layout layout,
        int rank,
        int microBatchSize,
        int numMicroBatches,
        int sequenceLength,
        double dropout,
        double weightDecay,
        Backward backward) {

    /** Whether products of backward do in their epilogues what ops beside them would do, which pays where kernels wait for memory. */
    public enum Backward {
        PLAIN,
        FUSED
    }

    public Request(
            Model model,
            Layout layout,
            int rank,
            int microBatchSize,
            int numMicroBatches,
            int sequenceLength,
            double dropout,
            double weightDecay) {
        this(
                model,
                layout,
                rank,
                microBatchSize,
                numMicroBatches,
                sequenceLength,
                dropout,
                weightDecay,
                Backward.PLAIN);
    }

    /** The same for another rank. */
    public Request at(int other) {
        return with(layout, other, microBatchSize, backward);
    }

    /** The same under another layout. */
    public Request under(Layout other, int rowsOfMicroBatch) {
        return with(other, rank, rowsOfMicroBatch, backward);
    }

    /** The same with products of backward as a back end likes them. */
    public Request with(Backward products) {
        return with(layout, rank, microBatchSize, products);
    }

    private Request with(Layout newLayout, int newRank, int rows, Backward products) {
        return new Request(
                model, newLayout, newRank, rows, numMicroBatches, sequenceLength, dropout, weightDecay, products);
    }

    RankView view() {
        return layout.view(rank);
    }

    /** Weight of one token's loss in the mean over the global batch. */
    double lossScale() {
        return 1.0 / ((double) microBatchSize * numMicroBatches * view().dataSize() * sequenceLength);
    }
}
