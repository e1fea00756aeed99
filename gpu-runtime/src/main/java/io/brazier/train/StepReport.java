package io.brazier.train;

/**
 * One finished optimizer step, the same on every rank but for times and memory.
 *
 * @param step steps finished, from 1
 * @param numSteps steps of the run
 * @param loss mean cross-entropy of the global batch, nats per token
 * @param gradientNorm global L2 norm before clipping
 * @param learningRate rate of this step
 * @param tokens tokens of the global batch
 * @param seconds wall time of the step
 * @param modelFlops FLOPs of the global batch, forward and backward, without recomputation
 * @param memoryBytes planned (and allocated) bytes of this rank
 */
public record StepReport(
        long step,
        long numSteps,
        double loss,
        double gradientNorm,
        double learningRate,
        long tokens,
        double seconds,
        double modelFlops,
        long memoryBytes) {

    public double tokensPerSecond() {
        return tokens / seconds;
    }
}
