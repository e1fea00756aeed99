package io.brazier.tests.bench;

import io.brazier.collective.Communicator;
import io.brazier.exec.TrainingEngine;
import io.brazier.plan.Layout;
import io.brazier.tensor.Mesh;
import java.lang.management.ManagementFactory;
import java.lang.management.ThreadInfo;
import java.lang.management.ThreadMXBean;
import java.util.Arrays;
import java.util.List;

/**
 * Two ranks that share the batch of a case.
 *
 * @param layout one of {@link #LAYOUTS}
 */
record LayoutRun(BenchCase bench, String layout) {
    static final String PREFIX = "layout ";
    static final List<String> LAYOUTS = List.of("dp2", "tp2", "sp2", "pp2", "zero3");

    private static final int MICRO_BATCHES = 8;

    String encode() {
        return PREFIX + bench.name() + " " + layout;
    }

    static LayoutRun decode(String text) {
        String[] words = text.split(" ");
        return new LayoutRun(BenchCase.named(words[1]), words[2]);
    }

    private Layout made() {
        return switch (layout) {
            case "dp2" -> Layout.dataParallel(2);
            case "tp2" -> Layout.of(new Mesh(1, 1, 1, 1, 2));
            case "sp2" -> Layout.of(new Mesh(1, 1, 1, 1, 2)).withSequenceParallel();
            case "pp2" -> Layout.of(new Mesh(1, 2, 1, 1, 1));
            case "zero3" -> Layout.dataParallel(2).withZeroStage(3);
            default -> throw new IllegalArgumentException(layout + " is none of " + LAYOUTS);
        };
    }

    /** 8 in a pipeline, or as many as the batch has rows; 1 elsewhere. */
    int numMicroBatches() {
        return layout.equals("pp2") ? Math.min(MICRO_BATCHES, bench.batchSize()) : 1;
    }

    /**
     * Tokens per second of both ranks together in the median step; then per step, the seconds for which a rank stands still until
     * others have given what it needs, and the CPU seconds of its threads that exchange.
     */
    double[] figures(Communicator communicator, int numSteps) {
        WaitMeter meter = new WaitMeter(communicator);
        Layout made = made();
        int rows = bench.batchSize() / made.mesh().dp() / numMicroBatches();
        try (TrainingEngine engine = bench.engine(meter, 1, made, rows, numMicroBatches())) {
            StepTimer.time(engine, bench, 0, 1);
            double waited = meter.seconds();
            double exchanged = exchangeSeconds();
            double seconds = StepTimer.time(engine, bench, numSteps, 1).seconds();
            int steps = numSteps + StepTimer.WARM_UP;
            return new double[] {
                bench.tokens() / seconds, (meter.seconds() - waited) / steps, (exchangeSeconds() - exchanged) / steps
            };
        }
    }

    /** Threads of communicators are the only ones of a rank that carry its number, beside the one that computes. */
    private static double exchangeSeconds() {
        ThreadMXBean threads = ManagementFactory.getThreadMXBean();
        return Arrays.stream(threads.getThreadInfo(threads.getAllThreadIds()))
                        .filter(t -> t != null && t.getThreadName().startsWith("brazier"))
                        .mapToLong(ThreadInfo::getThreadId)
                        .map(threads::getThreadCpuTime)
                        .sum()
                / 1e9;
    }
}
