package io.brazier.spark.ml;

import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.spark.barrier.BarrierJob;
import io.brazier.spark.data.Corpus;
import io.brazier.spark.data.TokenizerFiles;
import io.brazier.spark.ui.TrainingRun;
import io.brazier.spark.ui.TrainingTab;
import io.brazier.text.Tokenizer;
import io.brazier.train.SampleOrder;
import io.brazier.train.TrainingConfig;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.LongSupplier;
import org.apache.hadoop.conf.Configuration;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Dataset;

/** One call of {@link CausalLM#fit}: checks everything on the driver, tokenizes in the executors, runs the job, makes the model. */
final class Fit {
    private final CausalLM params;
    private final Dataset<?> table;
    private final TrainingListener listener;
    private final SparkContext context;
    private final Configuration configuration;
    private final FitSettings settings;

    Fit(CausalLM params, Dataset<?> table, TrainingListener listener) {
        this.params = params;
        this.table = table;
        this.listener = listener;
        this.context = table.sparkSession().sparkContext();
        this.configuration = context.hadoopConfiguration();
        this.settings = new FitSettings(params, context.conf(), configuration);
    }

    CausalLMModel run() {
        Optional<Tokenizer> known = Tokenizing.known(params, configuration);
        TrainingConfig config = settings.check(vocabularySize(known));
        Optional<Layout> early = known.map(t -> planner(t, config).settle());
        BarrierJob job = new BarrierJob(context, params.getNumWorkers(), params.getMaxFailures());
        job.validate();
        HashMap<String, byte[][]> initial =
                params.getInitialModel().isEmpty() ? null : ModelFiles.read(params.getInitialModel(), configuration);
        Tokenizer found = known.orElseGet(() -> Tokenizing.of(params, table, configuration));
        Layout layout = early.orElseGet(() -> planner(found, config).settle());
        TokenizerFiles tokenizer = new TokenizerFiles(found);
        Corpus.Nulls nulls = params.getHandleInvalid().equals("skip") ? Corpus.Nulls.SKIP : Corpus.Nulls.REFUSE;
        try (Corpus corpus = Corpus.of(table, params.getTextCol(), tokenizer, params.getRowSeparator(), nulls)) {
            ModelConfig model = settings.model(found.vocabularySize());
            // Throws here what every rank would throw: too little text for a single sample.
            new SampleOrder(corpus.numTokens(), params.getValidationFraction(), config.sequenceLength(), config.seed());
            return train(job, corpus, model, layout, config, tokenizer, initial);
        }
    }

    /** The plan of what {@link #run} would do. */
    Explanation explain() {
        Optional<Tokenizer> known = Tokenizing.known(params, configuration);
        TrainingConfig config = settings.check(vocabularySize(known));
        Tokenizer found = known.orElseGet(() -> Tokenizing.of(params, table, configuration));
        return planner(found, config).explain();
    }

    private static OptionalInt vocabularySize(Optional<Tokenizer> known) {
        return known.map(t -> OptionalInt.of(t.vocabularySize())).orElse(OptionalInt.empty());
    }

    private LayoutPlanner planner(Tokenizer tokenizer, TrainingConfig config) {
        return new LayoutPlanner(settings, settings.model(tokenizer.vocabularySize()), config);
    }

    private CausalLMModel train(
            BarrierJob job,
            Corpus corpus,
            ModelConfig model,
            Layout layout,
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
                            layout,
                            config,
                            params.getValidationFraction(),
                            tokenizer,
                            initialFiles,
                            checkpoints,
                            resume(run),
                            params.getDevice()),
                    generations(checkpoints),
                    run,
                    directory);
            state = TrainingRun.State.FINISHED;
            CausalLMSummary summary = new CausalLMSummary(run.steps(), run.evaluations(), outcome);
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
}
