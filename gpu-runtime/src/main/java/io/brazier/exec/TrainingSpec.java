package io.brazier.exec;

import io.brazier.nn.GptConfig;
import io.brazier.optim.AdamWSettings;

/**
 * What a training engine is made for.
 *
 * @param microBatchSize B, rows of a micro-batch on one rank
 * @param sequenceLength T
 * @param seed of dropout
 */
public record TrainingSpec(
        GptConfig model,
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
}
