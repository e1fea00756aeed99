package io.brazier.tests.parity;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.RankView;
import io.brazier.nn.WeightSource;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import java.nio.IntBuffer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collections;
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
record Ranks(ModelConfig model, int batchSize, int sequenceLength, double dropout, int numSteps) {
    private static final long SEED = 17;
    private static final double LEARNING_RATE = 1e-2;

    /** Outcomes by step, the losses of evaluations summed over ranks, and the whole final state of every parameter. */
    record Run(List<StepOutcome> steps, double evaluation, Map<String, float[]> state, List<Long> memoryBytes) {}

    private record Part(List<StepOutcome> steps, double evaluation, long memoryBytes) {}

    /** Makes a rank's engine. */
    interface Engines {
        TrainingEngine open(TrainingSpec spec, Communicator communicator, WeightSource initial);

        /** Engines on this processor. */
        static Engines cpu(int numThreads) {
            return (spec, communicator, initial) ->
                    CpuEngines.training(spec, communicator, numThreads, initial, Fill.NAN);
        }
    }

    /** What a test does on a rank. */
    interface Work<T> {
        T run(TrainingEngine engine, Rows rows);
    }

    /** The rows that a rank is fed. */
    final class Rows {
        private final RankView view;
        private final int numMicroBatches;

        private Rows(RankView view, int numMicroBatches) {
            this.view = view;
            this.numMicroBatches = numMicroBatches;
        }

        private int count() {
            return batchSize / view.dataSize() / numMicroBatches;
        }

        /** Trains on the batch of a step. */
        StepOutcome train(TrainingEngine engine, int step) {
            return train(engine, step, LEARNING_RATE);
        }

        StepOutcome train(TrainingEngine engine, int step, double learningRate) {
            int[][] batch = batch(step);
            return engine.step(step, learningRate, (x, tokens, targets) -> fill(batch, x, tokens, targets));
        }

        /** This rank's part of the loss of the batch behind the last step. */
        double evaluate(TrainingEngine engine) {
            IntBuffer tokens = IntBuffer.allocate(count() * sequenceLength);
            IntBuffer targets = IntBuffer.allocate(count() * sequenceLength);
            double sum = 0;
            for (int x = 0; x < numMicroBatches; x++) {
                fill(batch(numSteps), x, tokens.clear(), targets.clear());
                sum += engine.evaluate(tokens.flip(), targets.flip());
            }
            return sum;
        }

        private void fill(int[][] batch, int microBatch, IntBuffer tokens, IntBuffer targets) {
            int first = (microBatch * view.dataSize() + view.dataIndex()) * count();
            for (int row = first; row < first + count(); row++) {
                tokens.put(batch[row], 0, sequenceLength);
                targets.put(batch[row], 1, sequenceLength);
            }
        }
    }

    /** Trains, and evaluates after the first step and after the last. */
    Run train(Layout layout, int numMicroBatches, int numThreads) {
        return train(layout, numMicroBatches, Engines.cpu(numThreads));
    }

    Run train(Layout layout, int numMicroBatches, Engines engines) {
        Kept kept = new Kept(List.of(State.values()));
        return assemble(onRanks(layout, numMicroBatches, engines, (engine, rows) -> train(engine, rows, kept)), kept);
    }

    <T> List<T> onRanks(Layout layout, int numMicroBatches, int numThreads, Work<T> work) {
        return onRanks(layout, numMicroBatches, Engines.cpu(numThreads), work);
    }

    /** Does the same on every rank; a failure of one ends all. */
    <T> List<T> onRanks(Layout layout, int numMicroBatches, Engines engines, Work<T> work) {
        int size = layout.mesh().worldSize();
        List<Communicator> communicators = CpuCommunicators.local(size, Duration.ofSeconds(60));
        ExecutorService threads = Executors.newFixedThreadPool(size);
        List<Throwable> failures = Collections.synchronizedList(new ArrayList<>());
        try {
            List<Future<T>> running = new ArrayList<>();
            for (Communicator c : communicators) {
                running.add(threads.submit(() -> {
                    try {
                        return run(layout, numMicroBatches, engines, c, work);
                    } catch (RuntimeException | Error e) {
                        failures.add(e);
                        c.abort("rank " + c.rank() + " failed");
                        throw e;
                    }
                }));
            }
            List<T> results = new ArrayList<>();
            for (Future<T> rank : running) {
                results.add(rank.get(120, TimeUnit.SECONDS));
            }
            return results;
        } catch (InterruptedException | ExecutionException | TimeoutException e) {
            throw new AssertionError(layout.toString(), failures.isEmpty() ? e : failures.get(0));
        } finally {
            communicators.forEach(c -> c.abort("test over"));
            end(threads);
        }
    }

    /** Ranks give back what they hold before the next test looks. */
    private static void end(ExecutorService threads) {
        threads.shutdownNow();
        try {
            if (!threads.awaitTermination(60, TimeUnit.SECONDS)) {
                throw new AssertionError("ranks do not end");
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    private static Run assemble(List<Part> parts, Kept kept) {
        double evaluation = 0;
        for (Part part : parts) {
            if (!part.steps().equals(parts.get(0).steps())) {
                throw new AssertionError(
                        part.steps() + " on a rank, " + parts.get(0).steps() + " on the first");
            }
            evaluation += part.evaluation();
        }
        return new Run(
                parts.get(0).steps(),
                evaluation,
                kept.whole(),
                parts.stream().map(Part::memoryBytes).toList());
    }

    private <T> T run(Layout layout, int numMicroBatches, Engines engines, Communicator communicator, Work<T> work) {
        Rows rows = new Rows(layout.view(communicator.rank()), numMicroBatches);
        TrainingSpec spec = new TrainingSpec(
                model,
                layout,
                rows.count(),
                numMicroBatches,
                sequenceLength,
                dropout,
                new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0),
                SEED);
        InitialWeights initial = new InitialWeights(model.model().parameters(), SEED);
        try (TrainingEngine engine = engines.open(spec, communicator, initial)) {
            return work.run(engine, rows);
        }
    }

    private Part train(TrainingEngine engine, Rows rows, Kept kept) {
        List<StepOutcome> steps = new ArrayList<>();
        double evaluation = 0;
        for (int step = 0; step < numSteps; step++) {
            steps.add(rows.train(engine, step));
            if (step == 0 || step == numSteps - 1) {
                evaluation += rows.evaluate(engine);
            }
        }
        kept.add(engine);
        return new Part(steps, evaluation, engine.memoryBytes());
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
