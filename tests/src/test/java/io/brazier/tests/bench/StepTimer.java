package io.brazier.tests.bench;

import com.sun.management.OperatingSystemMXBean;
import io.brazier.exec.TrainingEngine;
import java.lang.management.ManagementFactory;
import java.nio.IntBuffer;
import java.util.Arrays;
import java.util.SplittableRandom;

/** Times training steps of an engine on random tokens. */
final class StepTimer {
    static final int WARM_UP = 2;

    /**
     * @param seconds wall time of the median step
     * @param cpuSeconds CPU time of this process a step
     */
    record Timing(double seconds, double cpuSeconds) {}

    private StepTimer() {}

    static Timing time(TrainingEngine engine, BenchCase bench, int numSteps, long seed) {
        TrainingEngine.Feed feed = feed(bench, seed);
        OperatingSystemMXBean system = ManagementFactory.getPlatformMXBean(OperatingSystemMXBean.class);
        double[] seconds = new double[numSteps];
        long cpuStart = 0;
        for (int step = -WARM_UP; step < numSteps; step++) {
            if (step == 0) {
                cpuStart = system.getProcessCpuTime();
            }
            long start = System.nanoTime();
            TrainingEngine.StepOutcome outcome = engine.step(step + WARM_UP, 3e-4, feed);
            if (!outcome.updated() || !Double.isFinite(outcome.loss())) {
                throw new AssertionError(bench.title() + ": step " + step + " gave " + outcome);
            }
            if (step >= 0) {
                seconds[step] = (System.nanoTime() - start) / 1e9;
            }
        }
        double cpuSeconds = (system.getProcessCpuTime() - cpuStart) / 1e9 / numSteps;
        if (numSteps == 0) {
            return new Timing(0, 0);
        }
        Arrays.sort(seconds);
        return new Timing((seconds[(numSteps - 1) / 2] + seconds[numSteps / 2]) / 2, cpuSeconds);
    }

    /** The same batch every step, as the rival has it; every rank takes a first part of as many rows as it is fed. */
    private static TrainingEngine.Feed feed(BenchCase bench, long seed) {
        SplittableRandom random = new SplittableRandom(seed);
        int rows = (int) bench.tokens();
        int[] drawn = random.ints(2L * rows, 0, bench.model().vocabularySize()).toArray();
        return (int microBatch, IntBuffer tokens, IntBuffer targets) -> {
            int first = microBatch * tokens.remaining();
            targets.put(drawn, rows + first, targets.remaining());
            tokens.put(drawn, first, tokens.remaining());
        };
    }
}
