package io.brazier.train;

import io.brazier.exec.TrainingSpec;
import io.brazier.nn.ModelConfig;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.List;

/**
 * What a run does, apart from the model and the data. All ranks hold equal copies.
 *
 * @param batchSize samples of a global optimizer step, over all ranks and micro-batches
 * @param numMicroBatches micro-batches a step is accumulated from, on each rank
 * @param sequenceLength T, tokens of a sample
 * @param numSteps optimizer steps of the whole run
 * @param learningRate peak rate
 * @param minLearningRate rate that the cosine ends at
 * @param warmupSteps steps of linear warm-up from 0
 * @param weightDecay decoupled decay of matrices (biases and norms have none)
 * @param maxGradientNorm clip of the global norm; 0 switches clipping off
 * @param dropout rate after the embedding and on each residual branch
 * @param seed of weights, sample order and dropout
 * @param evaluationInterval steps between evaluations; 0 = only at the end
 * @param checkpointInterval steps between checkpoints; 0 = only at the end
 * @param patience evaluations without improvement before the run stops early; 0 = never
 * @param nonFinite what a non-finite loss or gradient does
 */
public record TrainingConfig(
        int batchSize,
        int numMicroBatches,
        int sequenceLength,
        long numSteps,
        double learningRate,
        double minLearningRate,
        long warmupSteps,
        double weightDecay,
        double beta1,
        double beta2,
        double epsilon,
        double maxGradientNorm,
        double dropout,
        long seed,
        long evaluationInterval,
        long checkpointInterval,
        int patience,
        NonFinite nonFinite)
        implements java.io.Serializable {

    /** What all ranks do, together, when a loss or gradient is not finite. */
    public enum NonFinite {
        STOP,
        SKIP
    }

    public TrainingConfig {
        List<String> violations = new ArrayList<>();
        require(violations, batchSize > 0, "batchSize " + batchSize + " must be positive");
        require(violations, numMicroBatches > 0, "numMicroBatches " + numMicroBatches + " must be positive");
        require(violations, sequenceLength > 0, "sequenceLength " + sequenceLength + " must be positive");
        require(violations, numSteps > 0, "numSteps " + numSteps + " must be positive");
        require(
                violations,
                Double.isFinite(learningRate) && learningRate > 0,
                "learningRate " + learningRate + " must be positive");
        require(
                violations,
                minLearningRate >= 0 && minLearningRate <= learningRate,
                "minLearningRate " + minLearningRate + " must lie in [0, learningRate " + learningRate + "]");
        require(
                violations,
                warmupSteps >= 0 && warmupSteps <= numSteps,
                "warmupSteps " + warmupSteps + " must lie in [0, numSteps " + numSteps + "]");
        require(
                violations,
                Double.isFinite(weightDecay) && weightDecay >= 0,
                "weightDecay " + weightDecay + " must be 0 or positive");
        require(violations, beta1 >= 0 && beta1 < 1, "beta1 " + beta1 + " must lie in [0, 1)");
        require(violations, beta2 >= 0 && beta2 < 1, "beta2 " + beta2 + " must lie in [0, 1)");
        require(violations, epsilon > 0, "epsilon " + epsilon + " must be positive");
        require(violations, maxGradientNorm >= 0, "maxGradientNorm " + maxGradientNorm + " must be 0 or positive");
        require(violations, dropout >= 0 && dropout < 1, "dropout " + dropout + " must lie in [0, 1)");
        require(
                violations,
                evaluationInterval >= 0,
                "evaluationInterval " + evaluationInterval + " must be 0 or positive");
        require(
                violations,
                checkpointInterval >= 0,
                "checkpointInterval " + checkpointInterval + " must be 0 or positive");
        require(violations, patience >= 0, "patience " + patience + " must be 0 or positive");
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
    }

    private static void require(List<String> violations, boolean holds, String violation) {
        if (!holds) {
            violations.add(violation);
        }
    }

    /**
     * Rows of one micro-batch on one rank.
     *
     * @throws IllegalArgumentException when the batch does not divide
     */
    public int microBatchSize(Mesh mesh) {
        int parts = mesh.dp() * mesh.ep() * numMicroBatches;
        if (batchSize % parts != 0) {
            throw new IllegalArgumentException("batchSize " + batchSize + " is no multiple of dp " + mesh.dp()
                    + " * ep " + mesh.ep() + " * numMicroBatches " + numMicroBatches + " = " + parts
                    + ": set batchSize to "
                    + (batchSize / parts + 1) * parts);
        }
        return batchSize / parts;
    }

    /** The engine that a rank needs. */
    public TrainingSpec spec(ModelConfig model, Layout layout) {
        return new TrainingSpec(
                model,
                layout,
                microBatchSize(layout.mesh()),
                numMicroBatches,
                sequenceLength,
                dropout,
                new AdamWSettings(beta1, beta2, epsilon, weightDecay, maxGradientNorm),
                seed);
    }

    /** The defaults: nanoGPT's small character-level setting. */
    public static Builder builder() {
        return new Builder();
    }

    /** Collects settings; every one has the default written at its field. */
    public static final class Builder {
        private int batchSize = 12;
        private int numMicroBatches = 1;
        private int sequenceLength = 64;
        private long numSteps = 2000;
        private double learningRate = 1e-3;
        private double minLearningRate = 1e-4;
        private long warmupSteps = 100;
        private double weightDecay = 0.1;
        private double beta1 = 0.9;
        private double beta2 = 0.99;
        private double epsilon = 1e-8;
        private double maxGradientNorm = 1.0;
        private double dropout = 0.0;
        private long seed = 1337;
        private long evaluationInterval = 250;
        private long checkpointInterval = 0;
        private int patience = 0;
        private NonFinite nonFinite = NonFinite.STOP;

        private Builder() {}

        public Builder batchSize(int value) {
            batchSize = value;
            return this;
        }

        public Builder numMicroBatches(int value) {
            numMicroBatches = value;
            return this;
        }

        public Builder sequenceLength(int value) {
            sequenceLength = value;
            return this;
        }

        public Builder numSteps(long value) {
            numSteps = value;
            return this;
        }

        public Builder learningRate(double value) {
            learningRate = value;
            return this;
        }

        public Builder minLearningRate(double value) {
            minLearningRate = value;
            return this;
        }

        public Builder warmupSteps(long value) {
            warmupSteps = value;
            return this;
        }

        public Builder weightDecay(double value) {
            weightDecay = value;
            return this;
        }

        public Builder betas(double first, double second) {
            beta1 = first;
            beta2 = second;
            return this;
        }

        public Builder epsilon(double value) {
            epsilon = value;
            return this;
        }

        public Builder maxGradientNorm(double value) {
            maxGradientNorm = value;
            return this;
        }

        public Builder dropout(double value) {
            dropout = value;
            return this;
        }

        public Builder seed(long value) {
            seed = value;
            return this;
        }

        public Builder evaluationInterval(long value) {
            evaluationInterval = value;
            return this;
        }

        public Builder checkpointInterval(long value) {
            checkpointInterval = value;
            return this;
        }

        public Builder patience(int value) {
            patience = value;
            return this;
        }

        public Builder nonFinite(NonFinite value) {
            nonFinite = value;
            return this;
        }

        public TrainingConfig build() {
            return new TrainingConfig(
                    batchSize,
                    numMicroBatches,
                    sequenceLength,
                    numSteps,
                    learningRate,
                    minLearningRate,
                    warmupSteps,
                    weightDecay,
                    beta1,
                    beta2,
                    epsilon,
                    maxGradientNorm,
                    dropout,
                    seed,
                    evaluationInterval,
                    checkpointInterval,
                    patience,
                    nonFinite);
        }
    }
}
