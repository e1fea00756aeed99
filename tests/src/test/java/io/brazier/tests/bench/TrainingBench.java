package io.brazier.tests.bench;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuNative;
import io.brazier.exec.TrainingEngine;
import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Locale;

/**
 * Training speed on one machine, in tokens per second and as a fraction of the fp32 GEMM that the machine reaches in the same
 * minute; with --torch beside PyTorch, in turns. {@code bin/bench training [--torch] [--steps N] [--rounds N] [--case NAME]}.
 */
public final class TrainingBench {
    private TrainingBench() {}

    /** The best of the rounds. */
    private static final class Best {
        double tokensPerSecond;
        double cpuSeconds;
        double gemmFlops;
        double torch;
    }

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Flags flags = Flags.parse(arguments, "torch", "steps", "rounds", "case");
        int numSteps = flags.integer("steps", 6);
        int numRounds = flags.integer("rounds", 2);
        TorchRival rival = flags.has("torch") ? TorchRival.install() : null;
        System.out.println("Kernels: " + CpuNative.isa() + "; median of " + numSteps + " steps, best of " + numRounds
                + " rounds" + (rival == null ? "" : "; PyTorch with its allocator and MKL tuned, in turns"));
        System.out.println();
        System.out.println(
                "| model | threads | tokens/s | CPU s/step | GEMM GFLOP/s | of GEMM | PyTorch tokens/s | ratio |");
        System.out.println("|---|---|---|---|---|---|---|---|");
        double minFraction = Double.MAX_VALUE;
        double minRatio = Double.MAX_VALUE;
        List<BenchCase> cases = BenchCase.ALL.stream()
                .filter(bench -> flags.text("case", bench.name()).equals(bench.name()))
                .toList();
        for (BenchCase bench : cases) {
            for (int numThreads = 1; numThreads <= 2; numThreads++) {
                Best best = new Best();
                for (int round = 0; round < numRounds; round++) {
                    measure(bench, numThreads, numSteps, best);
                    if (rival != null) {
                        best.torch = Math.max(best.torch, rival.tokensPerSecond(bench, numThreads, 1, numSteps));
                    }
                }
                double fraction = best.tokensPerSecond
                        * bench.model().trainingFlopsPerToken(bench.sequenceLength())
                        / best.gemmFlops;
                double ratio = best.tokensPerSecond / best.torch;
                minFraction = Math.min(minFraction, fraction);
                minRatio = Math.min(minRatio, ratio);
                System.out.printf(
                        Locale.ROOT,
                        "| %s | %d | %,.0f | %.2f | %.0f | %.0f %% | %s | %s |%n",
                        bench.title(),
                        numThreads,
                        best.tokensPerSecond,
                        best.cpuSeconds,
                        best.gemmFlops / 1e9,
                        100 * fraction,
                        rival == null ? "-" : String.format(Locale.ROOT, "%,.0f", best.torch),
                        rival == null ? "-" : String.format(Locale.ROOT, "%.2f", ratio));
            }
        }
        System.out.println();
        System.out.printf(
                Locale.ROOT,
                "RESULT training minRatioToTorch=%s minFractionOfGemm=%.3f%n",
                rival == null ? "none" : String.format(Locale.ROOT, "%.3f", minRatio),
                minFraction);
    }

    private static void measure(BenchCase bench, int numThreads, int numSteps, Best best) {
        best.gemmFlops = Math.max(best.gemmFlops, GemmPeak.measure(numThreads));
        List<Communicator> alone = CpuCommunicators.local(1, Duration.ofMinutes(5));
        try (Communicator communicator = alone.get(0);
                TrainingEngine engine = bench.engine(communicator, numThreads)) {
            StepTimer.Timing timing = StepTimer.time(engine, bench, numSteps, 1);
            double tokensPerSecond = bench.tokens() / timing.seconds();
            if (tokensPerSecond > best.tokensPerSecond) {
                best.tokensPerSecond = tokensPerSecond;
                best.cpuSeconds = timing.cpuSeconds();
            }
        }
    }
}
