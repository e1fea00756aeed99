package io.brazier.tests.bench;

import java.io.IOException;
import java.util.List;
import java.util.Locale;

/**
 * Two rank processes of one thread that share one batch against one process of one thread with all of it: data, tensor (sp2: with
 * sequence parallelism), pipeline parallelism (8 micro-batches, or as many as the batch has rows) and ZeRO-3. With --torch beside
 * PyTorch's DistributedDataParallel, DTensor, pipelining and FSDP2 over gloo, which has one figure for tp2 and sp2.
 * {@code bin/bench layouts [--torch] [--steps N] [--rounds N]}.
 */
public final class LayoutsBench {
    private LayoutsBench() {}

    public static void main(String[] arguments) throws IOException, InterruptedException {
        Flags flags = Flags.parse(arguments, "torch", "steps", "rounds");
        int numSteps = flags.integer("steps", 8);
        int numRounds = flags.integer("rounds", 2);
        TorchRival rival = flags.has("torch") ? TorchRival.install() : null;
        System.out.println("Median of " + numSteps + " steps, best of " + numRounds + " rounds, in turns");
        System.out.println();
        System.out.println("| model | layout | micro-batches | tokens/s | times one process | stands still a step"
                + " | CPU of exchange a step | PyTorch tokens/s | of PyTorch |");
        System.out.println("|---|---|---|---|---|---|---|---|---|");
        StringBuilder result = new StringBuilder("RESULT layouts");
        double minRatio = Double.POSITIVE_INFINITY;
        for (BenchCase bench : List.of(BenchCase.SMALL, BenchCase.GPT2_T64)) {
            int numLayouts = LayoutRun.LAYOUTS.size();
            double one = 0;
            double[][] ours = new double[numLayouts][1];
            double[] torch = new double[numLayouts];
            for (int round = 0; round < numRounds; round++) {
                one = Math.max(one, RankProcess.run(bench.name(), 1, numSteps));
                for (int x = 0; x < numLayouts; x++) {
                    String layout = LayoutRun.LAYOUTS.get(x);
                    double[] figures = RankProcess.runLayout(new LayoutRun(bench, layout), numSteps);
                    ours[x] = figures[0] > ours[x][0] ? figures : ours[x];
                    if (rival != null) {
                        String theirs = layout.equals("sp2") ? "tp2" : layout;
                        torch[x] = Math.max(torch[x], rival.tokensPerSecond(bench, theirs, numSteps));
                    }
                }
            }
            System.out.printf(Locale.ROOT, "| %s | one process | 1 | %,.0f | 1.00 | | | | |%n", bench.title(), one);
            for (int x = 0; x < numLayouts; x++) {
                LayoutRun run = new LayoutRun(bench, LayoutRun.LAYOUTS.get(x));
                print(run, one, ours[x], torch[x]);
                String suffix = bench == BenchCase.SMALL ? "" : "Gpt2";
                result.append(String.format(Locale.ROOT, " %s%s=%.3f", run.layout(), suffix, ours[x][0] / one));
                minRatio = rival == null ? Double.NaN : Math.min(minRatio, ours[x][0] / torch[x]);
            }
        }
        System.out.println();
        System.out.println(
                result + (rival == null ? "" : String.format(Locale.ROOT, " minRatioToTorch=%.2f", minRatio)));
    }

    private static void print(LayoutRun run, double one, double[] figures, double torch) {
        System.out.printf(
                Locale.ROOT,
                "| | %s | %d | %,.0f | %.2f | %.1f ms | %.1f ms | %s |%n",
                run.layout(),
                run.numMicroBatches(),
                figures[0],
                figures[0] / one,
                1e3 * figures[1],
                1e3 * figures[2],
                torch == 0 ? "- | -" : String.format(Locale.ROOT, "%,.0f | %.2f", torch, figures[0] / torch));
    }
}
