package io.brazier.tests.parity;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.optim.AdamWSettings;
import java.nio.FloatBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Trains on ranks that are threads of this process, all from the same weights and rows. */
record Ranks(GptConfig model, int batchSize, int sequenceLength, double dropout, int numSteps) {
    private static final long SEED = 17;

    /** Outcomes by step, and the final state of every parameter on rank 0. */
    record Run(List<StepOutcome> steps, Map<String, float[]> state) {}

    /** How the global batch is cut up. */
    record Layout(int dp, int numMicroBatches, int numThreads) {}

    Run train(Layout layout) {
        List<Communicator> communicators = CpuCommunicators.local(layout.dp(), Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(layout.dp());
        try {
            List<Future<Run>> runs = new ArrayList<>();
            for (Communicator c : communicators) {
                runs.add(threads.submit(() -> train(layout, c)));
            }
            List<Run> done = new ArrayList<>();
            for (Future<Run> run : runs) {
                done.add(run.get(120, TimeUnit.SECONDS));
            }
            for (Run run : done) {
                requireEqual(done.get(0), run);
            }
            return done.get(0);
        } catch (InterruptedException | ExecutionException | TimeoutException e) {
            throw new AssertionError(layout.toString(), e);
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    /** Ranks must agree to the last bit. */
    private static void requireEqual(Run a, Run b) {
        if (!a.steps().equals(b.steps())) {
            throw new AssertionError(a.steps() + " on rank 0, " + b.steps() + " on another");
        }
        a.state().forEach((name, values) -> {
            if (!java.util.Arrays.equals(values, b.state().get(name))) {
                throw new AssertionError(name + " differs between ranks");
            }
        });
    }

    private Run train(Layout layout, Communicator communicator) {
        int rows = batchSize / layout.dp() / layout.numMicroBatches();
        TrainingSpec spec = new TrainingSpec(
                model,
                rows,
                layout.numMicroBatches(),
                sequenceLength,
                dropout,
                new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0),
                SEED);
        InitialWeights initial = new InitialWeights(new Gpt(model).parameters(), SEED);
        try (TrainingEngine engine = CpuEngines.training(spec, communicator, layout.numThreads(), initial, Fill.NAN)) {
            List<StepOutcome> steps = new ArrayList<>();
            for (int step = 0; step < numSteps; step++) {
                int[][] batch = batch(step);
                steps.add(engine.step(step, 1e-2, (microBatch, tokens, targets) -> {
                    int first = (microBatch * layout.dp() + communicator.rank()) * rows;
                    for (int row = first; row < first + rows; row++) {
                        tokens.put(batch[row], 0, sequenceLength);
                        targets.put(batch[row], 1, sequenceLength);
                    }
                }));
            }
            Map<String, float[]> state = new LinkedHashMap<>();
            for (TrainingEngine.Parameter p : engine.parameters()) {
                for (State kind : State.values()) {
                    float[] values = new float[(int) p.numElements()];
                    engine.read(p, kind, 0, FloatBuffer.wrap(values));
                    state.put(p.name() + " " + kind, values);
                }
            }
            return new Run(steps, state);
        }
    }

    private int[][] batch(int step) {
        Random random = new Random(SEED + step);
        int[][] rows = new int[batchSize][];
        for (int r = 0; r < batchSize; r++) {
            rows[r] = random.ints(sequenceLength + 1, 0, model.vocabularySize()).toArray();
        }
        return rows;
    }
}
