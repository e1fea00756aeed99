package io.brazier.tests.bench;

import java.io.IOException;
import java.util.List;
import java.util.Locale;

/**
 * Two rank processes of one thread against one, the batch of a rank kept, and the all-reduce between them. Two ranks apart, each a
 * run of its own at the same time, show what sharing the machine costs before a byte is exchanged. With --torch beside PyTorch's DistributedDataParallel over gloo. {@code bin/bench scaling [--torch] [--steps N] [--rounds N]}.
 */
public final class ScalingBench {
    private ScalingBench() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Flags flags = Flags.parse(arguments, "torch", "steps", "rounds");
        int numSteps = flags.integer("steps", 8);
        int numRounds = flags.integer("rounds", 2);
        TorchRival rival = flags.has("torch") ? TorchRival.install() : null;
        System.out.println("Median of " + numSteps + " steps, best of " + numRounds + " rounds, in turns");
        System.out.println();
        System.out.println(
                "| model | one rank tokens/s | two apart | of twice one | two ranks | of twice one | of two apart | PyTorch"
                        + " DDP of twice one |");
        System.out.println("|---|---|---|---|---|---|---|---|");
        StringBuilder result = new StringBuilder("RESULT scaling");
        for (BenchCase bench : List.of(BenchCase.SMALL, BenchCase.GPT2_T64)) {
            double one = 0;
            double apart = 0;
            double two = 0;
            double torchOne = 0;
            double torchTwo = 0;
            for (int round = 0; round < numRounds; round++) {
                one = Math.max(one, RankProcess.run(bench.name(), 1, numSteps));
                apart = Math.max(apart, 2 * RankProcess.runApart(bench.name(), numSteps));
                two = Math.max(two, 2 * RankProcess.run(bench.name(), 2, numSteps));
                if (rival != null) {
                    torchOne = Math.max(torchOne, rival.tokensPerSecond(bench, 1, 1, numSteps));
                    torchTwo = Math.max(torchTwo, rival.tokensPerSecond(bench, 1, 2, numSteps));
                }
            }
            double efficiency = two / (2 * one);
            System.out.printf(
                    Locale.ROOT,
                    "| %s | %,.0f | %,.0f | %.1f %% | %,.0f | %.1f %% | %.1f %% | %s |%n",
                    bench.title(),
                    one,
                    apart,
                    50 * apart / one,
                    two,
                    100 * efficiency,
                    100 * two / apart,
                    rival == null ? "-" : String.format(Locale.ROOT, "%.0f %%", 100 * torchTwo / (2 * torchOne)));
            result.append(String.format(
                    Locale.ROOT,
                    " %1$s=%2$.3f %1$sOfApart=%3$.3f",
                    bench == BenchCase.SMALL ? "small" : "gpt2",
                    efficiency,
                    two / apart));
        }
        double bytesPerSecond = RankProcess.run(RankProcess.ALL_REDUCE, 2, 0);
        System.out.printf(
                Locale.ROOT, "%nAll-reduce of 500 MB between two processes: %.1f GB/s%n%n", bytesPerSecond / 1e9);
        System.out.printf(Locale.ROOT, "%s allReduceGBps=%.2f%n", result, bytesPerSecond / 1e9);
    }
}
