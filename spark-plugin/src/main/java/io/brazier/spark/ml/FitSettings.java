package io.brazier.spark.ml;

import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.train.Resume;
import io.brazier.train.TrainingConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalInt;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkConf;
import org.apache.spark.ml.param.Param;

/** What the params ask for, checked. Needs neither text nor executors. */
record FitSettings(CausalLM params, SparkConf conf, Configuration configuration) {

    /** Stands for a vocabulary that only the text will tell. */
    private static final int LARGE_VOCABULARY = 1 << 20;

    /**
     * All that can be known before the text is read, every violation in one message.
     *
     * @param vocabularySize empty where only the text tells
     */
    TrainingConfig check(OptionalInt vocabularySize) {
        // An initial model has a vocabulary of its own, which must hold the text's.
        int unknown = params.getInitialModel().isEmpty() ? LARGE_VOCABULARY : 2;
        return check(() -> model(vocabularySize.orElse(unknown)));
    }

    /** The same for a model that may be refused, too. */
    TrainingConfig check(Supplier<ModelConfig> maker) {
        List<String> violations = new ArrayList<>();
        TrainingConfig config = gather(violations, this::config);
        ModelConfig model = gather(violations, maker);
        checkLayout(model, violations);
        gather(violations, () -> LayoutSettings.deviceBytes(params, conf));
        if (params.getMaxPositions() > 0 && params.getMaxPositions() < params.getSequenceLength()) {
            violations.add("maxPositions " + params.getMaxPositions() + " is below sequenceLength "
                    + params.getSequenceLength() + ": raise it, or leave it out");
        }
        if (params.getCheckpointDir().isEmpty() && Resume.parse(params.getResume()) instanceof Resume.From) {
            violations.add("resume is the checkpoint " + params.getResume() + ", but the run has no place for its own: "
                    + "set checkpointDir");
        }
        if (params.getValidationFraction() == 1) {
            violations.add("validationFraction 1 leaves nothing to train on: set it below 1");
        }
        gather(violations, () -> DeviceSettings.mode(conf));
        violations.addAll(DeviceSettings.violations(params.getDevice(), conf));
        checkInitialModel(violations);
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
        return config;
    }

    /** A layout that is chosen later is checked then. */
    private void checkLayout(ModelConfig model, List<String> violations) {
        Layout layout = LayoutSettings.layout(params, violations);
        if (layout.precision() == Layout.Precision.FP8 && params.getDevice().equals("cpu")) {
            violations.add(
                    "precision fp8 needs device cuda of compute capability 8.9 or more, not device cpu: set precision to "
                            + "bf16 or fp32, or leave device out");
        }
        if (params.getLayout().equals("auto")) {
            return;
        }
        if (model != null) {
            violations.addAll(layout.violations(
                    model, params.getBatchSize(), params.getNumMicroBatches(), params.getSequenceLength()));
        } else {
            gather(violations, () -> TrainingConfig.builder()
                    .batchSize(params.getBatchSize())
                    .numMicroBatches(params.getNumMicroBatches())
                    .build()
                    .microBatchSize(layout.mesh()));
        }
    }

    private void checkInitialModel(List<String> violations) {
        if (params.getInitialModel().isEmpty()) {
            return;
        }
        for (Param<?> param : List.of(
                params.numLayers(), params.numHeads(), params.width(), params.hiddenWidth(), params.maxPositions())) {
            if (params.isSet(param)) {
                violations.add(param.name() + " is that of initialModel: do not set it");
            }
        }
    }

    private static <V> V gather(List<String> violations, Supplier<V> value) {
        try {
            return value.get();
        } catch (IllegalArgumentException e) {
            violations.add(e.getMessage());
            return null;
        }
    }

    /** The network; that of the initial model where there is one. */
    ModelConfig model(int vocabularySize) {
        if (!params.getInitialModel().isEmpty()) {
            ModelConfig model = ModelDirectory.config("initialModel", params.getInitialModel(), configuration);
            if (vocabularySize > model.vocabularySize()) {
                throw new IllegalArgumentException("the tokenizer has " + vocabularySize + " tokens, initialModel only "
                        + model.vocabularySize() + ": leave out tokenizer to use the model's own");
            }
            return model;
        }
        return Architecture.of(params, vocabularySize, params.getSequenceLength());
    }

    /** Defaults of the schedule give way to a short run and a low rate; what is set explicitly does not. */
    TrainingConfig config() {
        double learningRate = params.getLearningRate();
        double minLearningRate = params.isSet(params.minLearningRate())
                ? params.getMinLearningRate()
                : Math.min(params.getMinLearningRate(), learningRate);
        long warmupSteps = params.isSet(params.warmupSteps())
                ? params.getWarmupSteps()
                : Math.min(params.getWarmupSteps(), params.getNumSteps());
        return TrainingConfig.builder()
                .batchSize(params.getBatchSize())
                .numMicroBatches(params.getNumMicroBatches())
                .sequenceLength(params.getSequenceLength())
                .numSteps(params.getNumSteps())
                .learningRate(learningRate)
                .minLearningRate(minLearningRate)
                .warmupSteps(warmupSteps)
                .weightDecay(params.getWeightDecay())
                .betas(params.getBeta1(), params.getBeta2())
                .epsilon(params.getEpsilon())
                .maxGradientNorm(params.getMaxGradientNorm())
                .dropout(params.getDropout())
                .seed(params.getSeed())
                .evaluationInterval(params.getEvaluationInterval())
                .checkpointInterval(params.getCheckpointInterval())
                .patience(params.getPatience())
                .nonFinite(
                        params.getNonFinite().equals("skip")
                                ? TrainingConfig.NonFinite.SKIP
                                : TrainingConfig.NonFinite.STOP)
                .build();
    }
}
