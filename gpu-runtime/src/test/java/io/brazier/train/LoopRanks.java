package io.brazier.train;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.checkpoint.Storage;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.tensor.Mesh;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.IntFunction;

/** Runs the training loop on ranks that are threads of this process, with {@link FakeEngine}s unless told otherwise. */
final class LoopRanks {
    static final GptConfig MODEL = GptConfig.of(100, 64, 1, 1, 8);

    /** A rank that a test kills. */
    static final class Killed extends RuntimeException {
        private static final long serialVersionUID = 1L;
    }

    /**
     * What a rank left behind.
     *
     * @param evaluated states by the step of their evaluation
     */
    record Outcome(
            TrainingResult result,
            Map<String, float[]> state,
            Map<Long, Map<String, float[]>> evaluated,
            List<String> events) {}

    /** What a rank trains, and with what. */
    interface Parts {
        TrainingEngine engine(Communicator communicator) throws Exception;

        BatchSource batches(Communicator communicator) throws Exception;
    }

    private final GptConfig model;
    private final TrainingConfig config;
    private Parts parts;
    private int numRanks = 1;
    private long numValidation = 5;
    private FakeEngine.Script script = new FakeEngine.Script() {};
    private IntFunction<TrainingListener> listeners = rank -> new TrainingListener() {};
    private IntFunction<Storage> storages;
    private String directory;
    private Resume resume = new Resume.Auto();
    private int generation = 1;

    LoopRanks(TrainingConfig config) {
        this(MODEL, config);
        this.parts = new Parts() {
            @Override
            public TrainingEngine engine(Communicator c) {
                return new FakeEngine(c, config, script);
            }

            @Override
            public BatchSource batches(Communicator c) {
                return fakeBatches(c);
            }
        };
    }

    private LoopRanks(GptConfig model, TrainingConfig config) {
        this.model = model;
        this.config = config;
    }

    static LoopRanks of(GptConfig model, TrainingConfig config, Parts parts) {
        LoopRanks ranks = new LoopRanks(model, config);
        ranks.parts = parts;
        return ranks;
    }

    LoopRanks ranks(int value) {
        numRanks = value;
        return this;
    }

    LoopRanks validation(long samples) {
        numValidation = samples;
        return this;
    }

    LoopRanks script(FakeEngine.Script value) {
        script = value;
        return this;
    }

    LoopRanks listener(IntFunction<TrainingListener> value) {
        listeners = value;
        return this;
    }

    LoopRanks checkpoints(String where, IntFunction<Storage> value) {
        directory = where;
        storages = value;
        return this;
    }

    LoopRanks resume(Resume value) {
        resume = value;
        return this;
    }

    LoopRanks generation(int value) {
        generation = value;
        return this;
    }

    /** Runs all ranks; the first failure that is no consequence of another is thrown. */
    List<Outcome> run() throws Exception {
        List<Communicator> communicators = CpuCommunicators.local(numRanks, Duration.ofSeconds(20));
        ExecutorService threads = Executors.newFixedThreadPool(numRanks);
        try {
            List<Future<Outcome>> futures = new ArrayList<>();
            List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
            for (Communicator c : communicators) {
                futures.add(threads.submit(() -> {
                    try {
                        return rank(c);
                    } catch (Throwable t) {
                        failures.add(t);
                        c.abort("rank " + c.rank() + " failed");
                        throw t;
                    }
                }));
            }
            List<Outcome> outcomes = new ArrayList<>();
            for (Future<Outcome> future : futures) {
                try {
                    outcomes.add(future.get(60, TimeUnit.SECONDS));
                } catch (ExecutionException e) {
                    // The failure that came first is thrown below.
                    continue;
                }
            }
            if (!failures.isEmpty()) {
                Throwable first = failures.get(0);
                failures.stream().skip(1).forEach(first::addSuppressed);
                if (first instanceof Exception e) {
                    throw e;
                }
                throw new AssertionError(first);
            }
            return outcomes;
        } finally {
            threads.shutdownNow();
            communicators.forEach(Communicator::close);
        }
    }

    private Outcome rank(Communicator c) throws Exception {
        try (BatchSource batches = parts.batches(c);
                TrainingEngine engine = parts.engine(c)) {
            Recorder recorder = new Recorder(listeners.apply(c.rank()), engine);
            Optional<CheckpointStore> store =
                    Optional.ofNullable(storages).map(s -> new CheckpointStore(s.apply(c.rank()), directory));
            TrainingResult result = Trainer.run(new Trainer.Run(
                    model,
                    Layout.dataParallel(c.size()),
                    config,
                    c,
                    engine,
                    batches,
                    store,
                    resume,
                    generation,
                    recorder));
            return new Outcome(result, snapshot(engine), recorder.evaluated, recorder.events);
        }
    }

    /** Weights and moments by name. */
    private static Map<String, float[]> snapshot(TrainingEngine engine) {
        Map<String, float[]> copy = new HashMap<>();
        for (TrainingEngine.Parameter p : engine.parameters()) {
            for (State state : List.of(State.WEIGHT, State.FIRST_MOMENT, State.SECOND_MOMENT)) {
                float[] values = new float[(int) p.numElements()];
                engine.read(p, state, 0, FloatBuffer.wrap(values));
                copy.put(p.name() + " " + state, values);
            }
        }
        return copy;
    }

    /** Keeps what the loop says, and passes it on. */
    private static final class Recorder implements TrainingListener {
        private final List<String> events = new ArrayList<>();
        private final Map<Long, Map<String, float[]>> evaluated = new HashMap<>();
        private final TrainingListener next;
        private final TrainingEngine engine;

        Recorder(TrainingListener next, TrainingEngine engine) {
            this.next = next;
            this.engine = engine;
        }

        @Override
        public void onPhase(long step, Phase phase) {
            next.onPhase(step, phase);
        }

        @Override
        public void onStep(StepReport report) {
            next.onStep(report);
        }

        @Override
        public void onEvaluation(EvaluationReport report) {
            evaluated.put(report.step(), snapshot(engine));
            events.add("evaluation " + report.step() + " " + report.loss() + " " + report.tokens());
        }

        @Override
        public void onCheckpoint(long step, String path) {
            events.add("checkpoint " + step);
        }

        @Override
        public void onWarning(String message) {
            events.add("warning " + message);
        }

        @Override
        public boolean stopRequested() {
            return next.stopRequested();
        }
    }

    private BatchSource fakeBatches(Communicator c) {
        int rows = config.microBatchSize(Mesh.dataParallel(c.size()));
        return new BatchSource() {
            @Override
            public long fingerprint() {
                return 7;
            }

            @Override
            public long numTrainingSamples() {
                return 1000;
            }

            @Override
            public long numValidationSamples() {
                return numValidation;
            }

            @Override
            public void readTraining(long step, int microBatch, IntBuffer tokens, IntBuffer targets) {
                for (int row = 0; row < rows; row++) {
                    long sample = step * config.batchSize() + ((long) microBatch * c.size() + c.rank()) * rows + row;
                    fill(sample, tokens, targets);
                }
            }

            @Override
            public void readValidation(int x, IntBuffer tokens, IntBuffer targets) {
                for (int row = 0; row < rows; row++) {
                    long sample = ((long) x * c.size() + c.rank()) * rows + row;
                    fill(sample < numValidation ? sample : -1, tokens, targets);
                }
            }

            private void fill(long sample, IntBuffer tokens, IntBuffer targets) {
                for (int t = 0; t < config.sequenceLength(); t++) {
                    tokens.put((int) ((sample * 31 + t) % 97));
                    targets.put(sample < 0 ? -1 : (int) ((sample * 31 + t + 1) % 97));
                }
            }

            @Override
            public void close() {}
        };
    }
}
