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
 * @param balanceLoss what spreads tokens over experts adds to the loss, in backward alone
 * @param droppedTokens assignments of tokens for which experts had no slot
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
        long memoryBytes,
        double balanceLoss,
        long droppedTokens) {

    /** A step of a model without experts. */
    public StepReport(
            long step,
            long numSteps,
            double loss,
            double gradientNorm,
            double learningRate,
            long tokens,
            double seconds,
            double modelFlops,
            long memoryBytes) {
        this(step, numSteps, loss, gradientNorm, learningRate, tokens, seconds, modelFlops, memoryBytes, 0, 0);
    }

    public double tokensPerSecond() {
        return tokens / seconds;
    }
}
