package io.brazier.pipeline;

/** One entry of a schedule: a phase of a micro-batch. */
public record Action(Phase phase, int microBatch) {

    /** What is done with a micro-batch; an update belongs to the last one. */
    public enum Phase {
        FORWARD,
        BACKWARD,
        UPDATE
    }

    @Override
    public String toString() {
        return phase.name().charAt(0) + Integer.toString(microBatch);
    }
}
