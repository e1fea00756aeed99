package io.brazier.pipeline;

/**
 * One entry of a stage's schedule: a phase of a micro-batch on one of the stage's model chunks.
 *
 * @param chunk model chunk c of stage s of p is virtual stage c * p + s
 */
public record Action(Phase phase, int chunk, int microBatch) {

    /** What is done with a micro-batch; an update belongs to the last one. */
    public enum Phase {
        FORWARD("F"),
        /** Gradients of inputs and weights. */
        BACKWARD("B"),
        /** Gradients of inputs only; the micro-batch's {@link #BACKWARD_WEIGHT} is another action. */
        BACKWARD_INPUT("b"),
        BACKWARD_WEIGHT("w"),
        UPDATE("U");

        private final String symbol;

        Phase(String symbol) {
            this.symbol = symbol;
        }

        public String symbol() {
            return symbol;
        }

        /** Whether it makes the gradient that the virtual stage before waits for. */
        public boolean makesInputGradient() {
            return this == BACKWARD || this == BACKWARD_INPUT;
        }

        /** Whether nothing of the micro-batch is needed after it. */
        public boolean endsMicroBatch() {
            return this == BACKWARD || this == BACKWARD_WEIGHT;
        }
    }

    /** For example F3, or F3.1 on chunk 1. */
    @Override
    public String toString() {
        return phase.symbol() + microBatch + (chunk == 0 ? "" : "." + chunk);
    }
}
