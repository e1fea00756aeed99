package io.brazier.exec;

import io.brazier.nn.ModelConfig;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import io.brazier.plan.Request;

/**
 * What a training engine is made for.
 *
 * @param layout how ranks share a step
 * @param microBatchSize B, rows of a micro-batch on one rank
 * @param sequenceLength T
 * @param seed of dropout
 */
public record TrainingSpec(
        ModelConfig model,
        Layout layout,
        int microBatchSize,
        int numMicroBatches,
        int sequenceLength,
        double dropout,
        AdamWSettings optimizer,
        long seed) {

    public TrainingSpec {
        if (sequenceLength > model.maxPositions()) {
            throw new IllegalArgumentException(
                    "sequenceLength " + sequenceLength + " exceeds the model's maxPositions " + model.maxPositions());
        }
    }

    /** What the planner needs of this on a rank. */
    public Request request(int rank) {
        return new Request(
                model.model(),
                layout,
                rank,
                microBatchSize,
                numMicroBatches,
                sequenceLength,
                dropout,
                optimizer.weightDecay());
    }
}
