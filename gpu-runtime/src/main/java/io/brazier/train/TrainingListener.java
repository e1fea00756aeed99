package io.brazier.train;

/** Receives the progress of a run on its rank; called on the training thread, so it must be quick. */
public interface TrainingListener {

    /** What a rank is about to do. */
    enum Phase {
        STEP,
        EVALUATE,
        CHECKPOINT_WRITE,
        CHECKPOINT_COMMIT
    }

    /** @param step steps finished so far */
    default void onPhase(long step, Phase phase) {}

    /**
     * Told before the first step, and again when more ranks have spoken.
     *
     * @param description what rank 0 computes on, and why where that was left open; empty as long as it has not spoken
     * @param peakFlops what the devices of the ranks heard so far could compute together at best, FLOP/s
     */
    default void onDevice(String description, double peakFlops) {}

    default void onStep(StepReport report) {}

    default void onEvaluation(EvaluationReport report) {}

    default void onCheckpoint(long step, String path) {}

    default void onWarning(String message) {}

    /** Asked now and then on rank 0: true ends the run after a last checkpoint. */
    default boolean stopRequested() {
        return false;
    }
}
