package io.brazier.tests.bench;

import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.optim.AdamWSettings;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.sim.Hardware;
import io.brazier.sim.Scenario;
import io.brazier.sim.SimulationReport;
import io.brazier.sim.Simulator;
import io.brazier.tensor.DType;
import io.brazier.tensor.Mesh;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.IntBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.SplittableRandom;
import java.util.concurrent.CompletableFuture;

/**
 * What the clock predicts of this machine against what training takes, for layouts of one and two ranks of one thread. The hardware
 * file is measured first, by products, copies, attention and sums, and by no training step. {@code bin/bench prediction [--steps N]}
 * writes docs/bench/prediction.md.
 */
public final class PredictionBench {
    private static final int WARM_UP = 2;
    private static final double LOAD_BEFORE =
            ManagementFactory.getOperatingSystemMXBean().getSystemLoadAverage();
    private static final Layout ONE = Layout.dataParallel(1);
    private static final Layout DP = Layout.dataParallel(2);
    private static final Layout PP = Layout.of(new Mesh(1, 2, 1, 1, 1));
    private static final Layout CP = Layout.of(new Mesh(1, 1, 2, 1, 1));
    private static final Layout TP = Layout.of(new Mesh(1, 1, 1, 1, 2));
    private static final GptConfig SMALL = GptConfig.of(4096, 128, 4, 4, 256);
    private static final GptConfig MEDIUM = GptConfig.of(8192, 256, 6, 6, 384);

    /** @param batchSize rows of a step on all ranks */
    private record Case(GptConfig model, int batchSize, int sequenceLength, Layout layout, int numMicroBatches) {
        static Case small(Layout layout, int numMicroBatches) {
            return new Case(SMALL, 16, 128, layout, numMicroBatches);
        }

        static Case medium(Layout layout, int numMicroBatches) {
            return new Case(MEDIUM, 8, 256, layout, numMicroBatches);
        }

        int microBatchSize() {
            return batchSize / layout.mesh().dp() / numMicroBatches;
        }

        Scenario scenario() {
            return new Scenario(model, layout, microBatchSize(), numMicroBatches, sequenceLength);
        }

        TrainingSpec spec() {
            AdamWSettings optimizer = new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0);
            return new TrainingSpec(model, layout, microBatchSize(), numMicroBatches, sequenceLength, 0, optimizer, 1);
        }
    }

    private static final List<Case> CASES = List.of(
            Case.small(ONE, 1),
            Case.small(ONE, 4),
            Case.small(ONE.withRecompute(Recompute.SELECTIVE), 1),
            Case.small(ONE.withRecompute(Recompute.FULL), 1),
            Case.small(DP, 1),
            Case.small(DP, 4),
            Case.small(DP.withZeroStage(1), 1),
            Case.small(DP.withZeroStage(2), 1),
            Case.small(DP.withZeroStage(3), 1),
            Case.small(TP, 1),
            Case.small(TP.withSequenceParallel(), 1),
            Case.small(CP, 1),
            Case.small(PP.withSchedule(Schedule.GPIPE, 1), 4),
            Case.small(PP, 4),
            Case.small(PP, 8),
            Case.small(PP.withSchedule(Schedule.ZB_H1, 1), 8),
            Case.medium(ONE, 1),
            Case.medium(DP, 1),
            Case.medium(DP.withZeroStage(3), 1),
            Case.medium(TP.withSequenceParallel(), 1),
            Case.medium(CP, 1),
            Case.medium(PP, 4));

    private PredictionBench() {}

    public static void main(String[] arguments) throws IOException {
        int numSteps = Flags.parse(arguments, "steps").integer("steps", 7);
        Path file = Files.createTempFile("brazier-hardware", ".json");
        Hardware hardware;
        try {
            Files.write(file, Json.bytes(Calibration.measure()));
            hardware = Hardware.read(new LocalStorage(), file.toString());
        } finally {
            Files.delete(file);
        }
        List<String> lines = new ArrayList<>(List.of(
                "| model | layout | micro-batches | predicted ms | measured ms | error | bubble |",
                "|---|---|---|---|---|---|---|"));
        double sum = 0;
        double worst = 0;
        for (Case one : CASES) {
            SimulationReport report = Simulator.simulate(one.scenario(), hardware);
            double measured = measure(one, numSteps);
            double error = report.stepSeconds() / measured - 1;
            sum += Math.abs(error);
            worst = Math.max(worst, Math.abs(error));
            lines.add(String.format(
                    Locale.ROOT,
                    "| %d x %d | %s | %d | %.1f | %.1f | %+.1f %% | %.1f %% |",
                    one.model().numLayers(),
                    one.model().width(),
                    one.layout(),
                    one.numMicroBatches(),
                    1e3 * report.stepSeconds(),
                    1e3 * measured,
                    100 * error,
                    100 * report.bubbleShare()));
        }
        String result =
                String.format(Locale.ROOT, "RESULT prediction meanAbsError=%.3f worst=%.3f", sum / CASES.size(), worst);
        lines.addAll(List.of("", "Hardware as it was measured: `" + describe(hardware) + "`", "", "`" + result + "`"));
        write(lines, numSteps);
        lines.forEach(System.out::println);
        System.out.println(result);
    }

    private static String describe(Hardware h) {
        return String.format(
                Locale.ROOT,
                "products %.0f GFLOP/s, %.0f ns a tile, vectors %.1f GFLOP/s, memory %.1f GB/s, attention %.2f and %.2f of"
                        + " products, links %.1f GB/s and %.1f us",
                h.peakFlopsPerSecond().get(DType.F32) / 1e9,
                2e9 * h.products().fillSeconds(),
                h.vectorFlopsPerSecond() / 1e9,
                h.memoryBytesPerSecond() / 1e9,
                h.attention().forwardFraction(),
                h.attention().backwardFraction(),
                h.network().tiers().get(0).bytesPerSecond() / 1e9,
                1e6 * h.network().tiers().get(0).latencySeconds());
    }

    private static void write(List<String> table, int numSteps) throws IOException {
        List<String> text = new ArrayList<>(List.of(
                "# What the clock predicts and what training takes",
                "",
                "`bin/bench prediction --steps " + numSteps + "`, "
                        + Runtime.getRuntime().availableProcessors()
                        + " virtual cores, load average before the run "
                        + String.format(Locale.ROOT, "%.1f", LOAD_BEFORE)
                        + "; ranks are threads with one thread of kernels each. The hardware file is"
                        + " measured first, with both ranks at work, and by no training step. Measured is the fastest step.",
                ""));
        text.addAll(table);
        Path file = Path.of(System.getProperty("brazier.root"), "docs", "bench", "prediction.md");
        Files.write(file, text);
    }

    /** Seconds of the fastest step on the first rank: what else the machine does counts least in it. */
    private static double measure(Case one, int numSteps) {
        int size = one.layout().mesh().worldSize();
        List<Communicator> ranks = CpuCommunicators.local(size, Duration.ofSeconds(120));
        List<CompletableFuture<Double>> running = ranks.stream()
                .map(c ->
                        CompletableFuture.supplyAsync(() -> train(one, c, numSteps), work -> new Thread(work).start()))
                .toList();
        double seconds = running.stream().map(CompletableFuture::join).toList().get(0);
        ranks.forEach(c -> c.abort("measured"));
        return seconds;
    }

    private static double train(Case one, Communicator communicator, int numSteps) {
        InitialWeights weights = new InitialWeights(one.model().model().parameters(), 1);
        int count = one.microBatchSize() * one.sequenceLength();
        int[] drawn = new SplittableRandom(1)
                .ints(2L * count, 0, one.model().vocabularySize())
                .toArray();
        TrainingEngine.Feed feed = (int microBatch, IntBuffer tokens, IntBuffer targets) -> {
            tokens.put(drawn, 0, count);
            targets.put(drawn, count, count);
        };
        double[] seconds = new double[numSteps];
        try (TrainingEngine engine = CpuEngines.training(one.spec(), communicator, 1, weights, Fill.ZERO)) {
            for (int step = -WARM_UP; step < numSteps; step++) {
                long start = System.nanoTime();
                engine.step(step + WARM_UP, 1e-4, feed);
                if (step >= 0) {
                    seconds[step] = (System.nanoTime() - start) / 1e9;
                }
            }
        }
        Arrays.sort(seconds);
        return seconds[0];
    }
}
