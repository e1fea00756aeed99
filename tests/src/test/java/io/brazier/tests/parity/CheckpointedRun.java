package io.brazier.tests.parity;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.exec.TrainingEngine;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.WeightSource;
import io.brazier.plan.Layout;
import io.brazier.tests.parity.Ranks.Engines;
import io.brazier.train.BatchSource;
import io.brazier.train.EvaluationReport;
import io.brazier.train.Resume;
import io.brazier.train.StepReport;
import io.brazier.train.Trainer;
import io.brazier.train.TrainingConfig;
import io.brazier.train.TrainingListener;
import io.brazier.train.TrainingResult;
import io.brazier.train.WholeWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** The training loop with checkpoints on ranks that are threads; all states it passes are kept. */
final class CheckpointedRun {
    static final int NUM_STEPS = 6;

    /** Token ids; no number of ranks divides it. */
    static final int VOCABULARY = 61;

    private static final TrainingConfig CONFIG = TrainingConfig.builder()
            .batchSize(16)
            .numMicroBatches(4)
            .sequenceLength(16)
            .numSteps(NUM_STEPS)
            .warmupSteps(1)
            .learningRate(1e-2)
            .dropout(0.1)
            .evaluationInterval(2)
            .checkpointInterval(3)
            .patience(50)
            .build();

    private final ModelConfig model;
    private final Layout layout;
    private final Engines engines;
    private final CheckpointStore store;
    private final Resume resume;
    private final Map<String, Kept> states = new ConcurrentHashMap<>();
    private final Map<String, float[]> lent = new TreeMap<>();

    /**
     * What a run leaves behind.
     *
     * @param losses of the steps that it took
     * @param states by what the loop was about to do
     * @param lent parameters as {@link WholeWeights} gave them at the end
     */
    record Outcome(long firstStep, List<Double> losses, Map<String, Kept> states, Map<String, float[]> lent) {
        Kept at(String moment) {
            return states.get(moment);
        }
    }

    private CheckpointedRun(ModelConfig model, Layout layout, Engines engines, String directory, Resume resume) {
        this.model = model;
        this.layout = layout;
        this.engines = engines;
        this.store = new CheckpointStore(new LocalStorage(), directory);
        this.resume = resume;
    }

    static Outcome train(ModelConfig model, Layout layout, String directory, Resume resume) {
        return train(model, layout, Engines.cpu(1), directory, resume);
    }

    static Outcome train(ModelConfig model, Layout layout, Engines engines, String directory, Resume resume) {
        CheckpointedRun run = new CheckpointedRun(model, layout, engines, directory, resume);
        int size = layout.mesh().worldSize();
        List<Communicator> communicators = CpuCommunicators.local(size, Duration.ofSeconds(60));
        ExecutorService threads = Executors.newFixedThreadPool(size);
        try {
            run.store.fence(1);
            List<Future<TrainingResult>> running = new ArrayList<>();
            communicators.forEach(c -> running.add(threads.submit(() -> run.rank(c))));
            List<TrainingResult> results = new ArrayList<>();
            for (Future<TrainingResult> result : running) {
                results.add(result.get(180, TimeUnit.SECONDS));
            }
            List<Double> losses =
                    results.get(0).steps().stream().map(StepReport::loss).toList();
            return new Outcome(results.get(0).firstStep(), losses, run.states, run.lent);
        } catch (IOException | InterruptedException | ExecutionException | TimeoutException e) {
            throw new AssertionError(layout.toString(), e);
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    private TrainingResult rank(Communicator c) throws IOException {
        List<ParameterSpec> parameters = model.model().parameters();
        try (TrainingEngine engine =
                engines.open(CONFIG.spec(model, layout), c, new InitialWeights(parameters, CONFIG.seed()))) {
            TrainingResult result = Trainer.run(new Trainer.Run(
                    model,
                    layout,
                    CONFIG,
                    c,
                    engine,
                    new Rows(layout.view(c.rank())),
                    Optional.of(store),
                    resume,
                    1,
                    new Recorder(engine)));
            keep("end", engine);
            WholeWeights.lend(engine, c, weights -> parameters.forEach(p -> lent.put(p.name(), read(weights, p))));
            return result;
        } catch (Exception | Error e) {
            c.abort("rank " + c.rank() + " failed: " + e);
            throw e;
        }
    }

    private static float[] read(WeightSource weights, ParameterSpec p) {
        float[] values = new float[(int) p.shape().numElements()];
        for (int offset = 0; offset < values.length; offset += 101) {
            weights.read(p.name(), offset, FloatBuffer.wrap(values, offset, Math.min(101, values.length - offset)));
        }
        return values;
    }

    private void keep(String moment, TrainingEngine engine) {
        states.computeIfAbsent(moment, k -> new Kept(Kept.SAVED)).add(engine);
    }

    /** Keeps the states that checkpoints, evaluations and the first step see. */
    private final class Recorder implements TrainingListener {
        private final TrainingEngine engine;

        Recorder(TrainingEngine engine) {
            this.engine = engine;
        }

        @Override
        public void onPhase(long step, Phase phase) {
            switch (phase) {
                case STEP -> keep("begins " + step, engine);
                case CHECKPOINT_WRITE -> keep("saved " + step, engine);
                case EVALUATE, CHECKPOINT_COMMIT -> {}
            }
        }

        @Override
        public void onEvaluation(EvaluationReport report) {
            keep("evaluated " + report.step(), engine);
        }
    }

    /** Token ids that count up; validation counts down from the third step on, so that the evaluation before it stays the best. */
    private static final class Rows implements BatchSource {
        private final RankView view;
        private final int rows;
        private long step;

        Rows(RankView view) {
            this.view = view;
            this.rows = CONFIG.microBatchSize(view.mesh());
        }

        @Override
        public long fingerprint() {
            return 5;
        }

        @Override
        public long numTrainingSamples() {
            return 1000;
        }

        @Override
        public long numValidationSamples() {
            return CONFIG.batchSize() / CONFIG.numMicroBatches();
        }

        @Override
        public void readTraining(long now, int microBatch, IntBuffer tokens, IntBuffer targets) {
            step = now;
            fill(
                    now * CONFIG.batchSize() + (long) (microBatch * view.dataSize() + view.dataIndex()) * rows,
                    1,
                    tokens,
                    targets);
        }

        @Override
        public void readValidation(int x, IntBuffer tokens, IntBuffer targets) {
            fill(
                    (long) (x * view.dataSize() + view.dataIndex()) * rows,
                    step < 2 ? 1 : VOCABULARY - 1,
                    tokens,
                    targets);
        }

        private void fill(long first, int stride, IntBuffer tokens, IntBuffer targets) {
            for (long sample = first; sample < first + rows; sample++) {
                for (int t = 0; t < CONFIG.sequenceLength(); t++) {
                    tokens.put((int) ((sample * 7 + (long) t * stride) % VOCABULARY));
                    targets.put((int) ((sample * 7 + (t + 1L) * stride) % VOCABULARY));
                }
            }
        }

        @Override
        public void close() {}
    }
}
