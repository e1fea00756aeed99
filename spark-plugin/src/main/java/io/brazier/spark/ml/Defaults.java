package io.brazier.spark.ml;

import io.brazier.train.TrainingConfig;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** Default values of the params; those of training are {@link TrainingConfig}'s own. */
final class Defaults {
    private static final TrainingConfig TRAINING = TrainingConfig.builder().build();

    private Defaults() {}

    static void text(TextParams<?> of) {
        set(of, of.textCol(), "text");
        set(of, of.device(), "auto");
        set(of, of.seed(), TRAINING.seed());
    }

    static void architecture(ArchitectureParams<?> of) {
        set(of, of.numLayers(), 4);
        set(of, of.numHeads(), 4);
        set(of, of.width(), 128);
        set(of, of.hiddenWidth(), 0);
        set(of, of.maxPositions(), 0);
        set(of, of.initialModel(), "");
        set(of, of.modelType(), "gpt2");
        set(of, of.numKeyValueHeads(), 0);
        set(of, of.ropeTheta(), 10000.0);
        set(of, of.numExperts(), 0);
        set(of, of.expertsPerToken(), 2);
        set(of, of.capacityFactor(), 0.0);
        set(of, of.balanceCoefficient(), 0.01);
    }

    static void training(TrainingParams<?> of) {
        set(of, of.tokenizer(), "bytes");
        set(of, of.rowSeparator(), "\n");
        set(of, of.handleInvalid(), "error");
        set(of, of.validationFraction(), 0.1);
        set(of, of.numWorkers(), 1);
        set(of, of.sequenceLength(), TRAINING.sequenceLength());
        set(of, of.batchSize(), TRAINING.batchSize());
        set(of, of.numMicroBatches(), TRAINING.numMicroBatches());
        set(of, of.numSteps(), TRAINING.numSteps());
        set(of, of.patience(), TRAINING.patience());
        set(of, of.evaluationInterval(), TRAINING.evaluationInterval());
        set(of, of.checkpointDir(), "");
        set(of, of.checkpointInterval(), TRAINING.checkpointInterval());
        set(of, of.resume(), "auto");
        set(of, of.maxFailures(), 3);
    }

    static void layout(LayoutParams<?> of) {
        sharding(of);
        set(of, of.contextParallel(), 1);
        set(of, of.expertParallel(), 1);
        set(of, of.sequenceParallel(), true);
        set(of, of.zeroStage(), 0);
        set(of, of.recompute(), "none");
        set(of, of.precision(), "fp32");
        set(of, of.schedule(), "1f1b");
        set(of, of.virtualStages(), 1);
        set(of, of.layout(), "manual");
        set(of, of.cluster(), "");
        set(of, of.deviceMemory(), "");
    }

    static void sharding(ShardingParams<?> of) {
        set(of, of.tensorParallel(), 1);
        set(of, of.pipelineParallel(), 1);
    }

    static void optimizer(OptimizerParams<?> of) {
        set(of, of.learningRate(), TRAINING.learningRate());
        set(of, of.minLearningRate(), TRAINING.minLearningRate());
        set(of, of.warmupSteps(), TRAINING.warmupSteps());
        set(of, of.weightDecay(), TRAINING.weightDecay());
        set(of, of.beta1(), TRAINING.beta1());
        set(of, of.beta2(), TRAINING.beta2());
        set(of, of.epsilon(), TRAINING.epsilon());
        set(of, of.maxGradientNorm(), TRAINING.maxGradientNorm());
        set(of, of.dropout(), TRAINING.dropout());
        set(of, of.nonFinite(), "stop");
    }

    static void generation(GenerationParams<?> of) {
        set(of, of.task(), "generate");
        set(of, of.outputCol(), "generated");
        set(of, of.logLikelihoodCol(), "logLikelihood");
        set(of, of.perplexityCol(), "perplexity");
        set(of, of.maxNewTokens(), 64);
        set(of, of.temperature(), 1.0);
        set(of, of.topK(), 0);
        set(of, of.topP(), 1.0);
        set(of, of.stop(), new String[0]);
        set(of, of.contextLength(), 0);
        set(of, of.inferenceBatchSize(), 8);
    }

    @SuppressWarnings("unchecked")
    private static void set(Params of, Param<?> param, Object value) {
        of.setDefault((Param<Object>) param, value);
    }
}
