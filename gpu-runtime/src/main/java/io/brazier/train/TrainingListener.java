package io.brazier.train;

/** Receives the progress of a run on its rank; called on the training thread, so it must be quick. */
public interface TrainingListener {

    default void onStep(StepReport report) {}

    default void onEvaluation(EvaluationReport report) {}

    default void onCheckpoint(long step, String path) {}

    default void onWarning(String message) {}

    /** Asked between steps: true ends the run after a last checkpoint. */
    default boolean stopRequested() {
        return false;
    }
}
