package io.brazier.spark.ml;

import io.brazier.nn.GptConfig;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.spark.barrier.BarrierJob;
import io.brazier.spark.data.Corpus;
import io.brazier.spark.data.TokenizerFiles;
import io.brazier.spark.ui.TrainingRun;
import io.brazier.spark.ui.TrainingTab;
import io.brazier.tensor.Mesh;
import io.brazier.text.Tokenizer;
import io.brazier.train.Resume;
import io.brazier.train.SampleOrder;
import io.brazier.train.TrainingConfig;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import java.util.function.Supplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.ml.param.Param;
import org.apache.spark.sql.Dataset;

/** One call of {@link CausalLM#fit}: checks everything on the driver, tokenizes in the executors, runs the job, makes the model. */
final class Fit {
    private final CausalLM params;
    private final Dataset<?> table;
    private final TrainingListener listener;
    private final SparkContext context;
    private final Configuration configuration;

    Fit(CausalLM params, Dataset<?> table, TrainingListener listener) {
        this.params = params;
        this.table = table;
        this.listener = listener;
        this.context = table.sparkSession().sparkContext();
        this.configuration = context.hadoopConfiguration();
    }

    CausalLMModel run() {
        TrainingConfig config = check();
        BarrierJob job = new BarrierJob(context, params.getNumWorkers(), params.getMaxFailures());
        job.validate();
        HashMap<String, byte[][]> initial =
                params.getInitialModel().isEmpty() ? null : ModelFiles.read(params.getInitialModel(), configuration);
        Tokenizer found = Tokenizing.of(params, table, configuration);
        TokenizerFiles tokenizer = new TokenizerFiles(found);
        Corpus.Nulls nulls = params.getHandleInvalid().equals("skip") ? Corpus.Nulls.SKIP : Corpus.Nulls.REFUSE;
        try (Corpus corpus = Corpus.of(table, params.getTextCol(), tokenizer, params.getRowSeparator(), nulls)) {
            ModelConfig model = model(found.vocabularySize());
            // Throws here what every rank would throw: too little text for a single sample.
            new SampleOrder(corpus.numTokens(), params.getValidationFraction(), config.sequenceLength(), config.seed());
            return train(job, corpus, model, config, tokenizer, initial);
        }
    }

    private CausalLMModel train(
            BarrierJob job,
            Corpus corpus,
            ModelConfig model,
            TrainingConfig config,
            TokenizerFiles tokenizer,
            HashMap<String, byte[][]> initial) {
        Path directory = ModelFiles.newLocalDirectory(
                context.conf().get("spark.local.dir", System.getProperty("java.io.tmpdir")));
        Broadcast<HashMap<String, byte[][]>> initialFiles = initial == null
                ? null
                : JavaSparkContext.fromSparkContext(context).broadcast(initial);
        CheckpointDirectory checkpoints = checkpoints();
        TrainingTab.attach(context);
        TrainingRun run = TrainingRun.begin(params.uid(), listener);
        TrainingRun.State state = TrainingRun.State.FAILED;
        try {
            BarrierJob.Outcome outcome = job.run(
                    corpus.split(params.getNumWorkers()),
                    generation -> new TrainWork(
                            model,
                            Layout.dataParallel(params.getNumWorkers()),
                            config,
                            params.getValidationFraction(),
                            tokenizer,
                            initialFiles,
                            checkpoints,
                            resume(run)),
                    generations(checkpoints),
                    run,
                    directory);
            state = TrainingRun.State.FINISHED;
            CausalLMSummary summary =
                    new CausalLMSummary(run.steps(), run.evaluations(), outcome.restarts(), outcome.peakFlops());
            return new CausalLMModel(params.uid(), directory.toUri().toString(), summary);
        } finally {
            run.end(state);
            if (initialFiles != null) {
                initialFiles.destroy();
            }
        }
    }

    /** Null when none are wanted. */
    private CheckpointDirectory checkpoints() {
        if (params.getCheckpointDir().isEmpty()) {
            return null;
        }
        CheckpointDirectory checkpoints = new CheckpointDirectory(params.getCheckpointDir(), configuration);
        if (!params.getResume().equals("auto")) {
            checkpoints.refuseOthers(params.getResume());
        }
        return checkpoints;
    }

    private static LongSupplier generations(CheckpointDirectory checkpoints) {
        AtomicLong counter = new AtomicLong();
        return checkpoints == null ? counter::incrementAndGet : checkpoints::nextGeneration;
    }

    /** After a failure a run that was told not to resume goes on from its own last checkpoint, and from no older run's. */
    private String resume(TrainingRun run) {
        String wanted = params.getResume();
        return wanted.equals("auto") ? wanted : run.lastCheckpoint().orElse(wanted);
    }

    /** All that can be known before the text is read, every violation in one message. */
    private TrainingConfig check() {
        List<String> violations = new ArrayList<>();
        TrainingConfig config = gather(violations, this::config);
        gather(violations, () -> TrainingConfig.builder()
                .batchSize(params.getBatchSize())
                .numMicroBatches(params.getNumMicroBatches())
                .build()
                .microBatchSize(Mesh.dataParallel(params.getNumWorkers())));
        gather(violations, () -> model(2));
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
        if (!params.getInitialModel().isEmpty()) {
            for (Param<?> param : List.of(
                    params.numLayers(),
                    params.numHeads(),
                    params.width(),
                    params.hiddenWidth(),
                    params.maxPositions())) {
                if (params.isSet(param)) {
                    violations.add(param.name() + " is that of initialModel: do not set it");
                }
            }
        }
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
        return config;
    }

    private static <V> V gather(List<String> violations, Supplier<V> value) {
        try {
            return value.get();
        } catch (IllegalArgumentException e) {
            violations.add(e.getMessage());
            return null;
        }
    }

    private ModelConfig model(int vocabularySize) {
        if (!params.getInitialModel().isEmpty()) {
            ModelConfig model = ModelDirectory.config(params.getInitialModel(), configuration);
            if (vocabularySize > model.vocabularySize()) {
                throw new IllegalArgumentException("the tokenizer has " + vocabularySize + " tokens, initialModel only "
                        + model.vocabularySize() + ": leave out tokenizer to use the model's own");
            }
            return model;
        }
        int width = params.getWidth();
        return new GptConfig(
                vocabularySize,
                params.getMaxPositions() == 0 ? params.getSequenceLength() : params.getMaxPositions(),
                params.getNumLayers(),
                params.getNumHeads(),
                width,
                params.getHiddenWidth() == 0 ? 4 * width : params.getHiddenWidth(),
                1e-5);
    }

    /** Defaults of the schedule give way to a short run and a low rate; what is set explicitly does not. */
    private TrainingConfig config() {
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
