package io.brazier.tests.parity;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.RankView;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;

/** Trains on ranks that are threads of this process, all from the same weights and rows. */
record Ranks(ModelConfig model, int batchSize, int sequenceLength, double dropout, int numSteps) {
    private static final long SEED = 17;

    /** Outcomes by step, the loss of one evaluation summed over ranks, and the whole final state of every parameter. */
    record Run(List<StepOutcome> steps, double evaluation, Map<String, float[]> state, List<Long> memoryBytes) {}

    private record Part(List<StepOutcome> steps, double evaluation, Map<Parameter, float[][]> kept, long memoryBytes) {}

    Run train(Layout layout, int numMicroBatches, int numThreads) {
        int size = layout.mesh().worldSize();
        List<Communicator> communicators = CpuCommunicators.local(size, Duration.ofSeconds(60));
        ExecutorService threads = Executors.newFixedThreadPool(size);
        try {
            List<Future<Part>> running = new ArrayList<>();
            for (Communicator c : communicators) {
                running.add(threads.submit(() -> train(layout, numMicroBatches, numThreads, c)));
            }
            List<Part> parts = new ArrayList<>();
            for (Future<Part> part : running) {
                parts.add(part.get(120, TimeUnit.SECONDS));
            }
            return assemble(parts);
        } catch (InterruptedException | ExecutionException | TimeoutException e) {
            throw new AssertionError(layout.toString(), e);
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    /** Whole parameters of what ranks keep; those who keep the same elements must agree to the last bit. */
    private static Run assemble(List<Part> parts) {
        Map<String, float[]> state = new TreeMap<>();
        double evaluation = 0;
        for (Part part : parts) {
            if (!part.steps().equals(parts.get(0).steps())) {
                throw new AssertionError(
                        part.steps() + " on a rank, " + parts.get(0).steps() + " on the first");
            }
            evaluation += part.evaluation();
            part.kept().forEach((p, byState) -> {
                for (State kind : State.values()) {
                    float[] from = byState[kind.ordinal()];
                    float[] whole = state.computeIfAbsent(p.name() + " " + kind, k -> {
                        float[] empty = new float[(int) p.shard().global().numElements()];
                        Arrays.fill(empty, Float.NaN);
                        return empty;
                    });
                    p.forEachRun(0, p.numElements(), (global, local, count) -> {
                        for (int i = 0; i < count; i++) {
                            int at = (int) global + i;
                            if (!Float.isNaN(whole[at]) && whole[at] != from[(int) local + i]) {
                                throw new AssertionError(p.name() + " " + kind + " differs between ranks");
                            }
                            whole[at] = from[(int) local + i];
                        }
                    });
                }
            });
        }
        state.forEach((name, values) -> {
            for (float value : values) {
                if (Float.isNaN(value)) {
                    throw new AssertionError("nobody keeps all of " + name + ", or it is not a number");
                }
            }
        });
        return new Run(
                parts.get(0).steps(),
                evaluation,
                state,
                parts.stream().map(Part::memoryBytes).toList());
    }

    private Part train(Layout layout, int numMicroBatches, int numThreads, Communicator communicator) {
        RankView view = layout.view(communicator.rank());
        int rows = batchSize / view.dataSize() / numMicroBatches;
        TrainingSpec spec = new TrainingSpec(
                model,
                layout,
                rows,
                numMicroBatches,
                sequenceLength,
                dropout,
                new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0),
                SEED);
        InitialWeights initial = new InitialWeights(model.model().parameters(), SEED);
        try (TrainingEngine engine = CpuEngines.training(spec, communicator, numThreads, initial, Fill.NAN)) {
            List<StepOutcome> steps = new ArrayList<>();
            for (int step = 0; step < numSteps; step++) {
                int[][] batch = batch(step);
                steps.add(engine.step(
                        step,
                        1e-2,
                        (microBatch, tokens, targets) -> fill(
                                batch,
                                (microBatch * view.dataSize() + view.dataIndex()) * rows,
                                rows,
                                tokens,
                                targets)));
            }
            IntBuffer tokens = IntBuffer.allocate(rows * sequenceLength);
            IntBuffer targets = IntBuffer.allocate(rows * sequenceLength);
            double evaluation = 0;
            for (int x = 0; x < numMicroBatches; x++) {
                int first = (x * view.dataSize() + view.dataIndex()) * rows;
                fill(batch(numSteps), first, rows, tokens.clear(), targets.clear());
                evaluation += engine.evaluate(tokens.flip(), targets.flip());
            }
            Map<Parameter, float[][]> kept = new java.util.LinkedHashMap<>();
            for (Parameter p : engine.parameters()) {
                float[][] byState = new float[State.values().length][(int) p.numElements()];
                for (State kind : State.values()) {
                    engine.read(p, kind, 0, FloatBuffer.wrap(byState[kind.ordinal()]));
                }
                kept.put(p, byState);
            }
            return new Part(steps, evaluation, kept, engine.memoryBytes());
        }
    }

    private void fill(int[][] batch, int first, int rows, IntBuffer tokens, IntBuffer targets) {
        for (int row = first; row < first + rows; row++) {
            tokens.put(batch[row], 0, sequenceLength);
            targets.put(batch[row], 1, sequenceLength);
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
