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

    /** What the devices of all ranks together could compute at best; told before the first step, and again when more is known. */
    default void onPeak(double flopsPerSecond) {}

    default void onStep(StepReport report) {}

    default void onEvaluation(EvaluationReport report) {}

    default void onCheckpoint(long step, String path) {}

    default void onWarning(String message) {}

    /** Asked now and then on rank 0: true ends the run after a last checkpoint. */
    default boolean stopRequested() {
        return false;
    }
}
