package io.brazier.optim;

/**
 * Linear warm-up, then a half cosine (arXiv:1608.03983, eq. 5, without restarts): rate(s) = peak (s + 1) / (warmup + 1) for s &lt;
 * warmup, else min + (peak - min) (1 + cos(pi (s - warmup) / (numSteps - warmup))) / 2.
 */
public record LearningRateSchedule(double peak, double min, long warmupSteps, long numSteps) {

    /** Rate of a step, from 0. */
    public double rate(long step) {
        if (step < warmupSteps) {
            return peak * (step + 1) / (warmupSteps + 1);
        }
        if (step >= numSteps) {
            return min;
        }
        double progress = (double) (step - warmupSteps) / (numSteps - warmupSteps);
        return min + (peak - min) * 0.5 * (1 + Math.cos(Math.PI * progress));
    }
}
