package io.brazier.train;

/**
 * Loss over the validation split.
 *
 * @param step steps finished when it was measured
 * @param loss mean cross-entropy, nats per token
 * @param tokens tokens that it is the mean of
 */
public record EvaluationReport(long step, double loss, long tokens) {

    public double perplexity() {
        return Math.exp(loss);
    }
}
