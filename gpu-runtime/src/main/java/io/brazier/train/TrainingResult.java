package io.brazier.train;

import java.util.List;

/**
 * What a finished run leaves behind, beside the weights in its engine.
 *
 * @param numSteps steps of the run, those before a resume included
 * @param firstStep steps that were taken over from a checkpoint
 * @param steps reports of the steps of this attempt
 * @param evaluations reports of the evaluations of this attempt
 * @param bestStep steps after which the validation loss was lowest; the weights are those of that moment if patience is set, else
 *     those of the last step
 * @param end why the run ended
 */
public record TrainingResult(
        long numSteps,
        long firstStep,
        List<StepReport> steps,
        List<EvaluationReport> evaluations,
        long bestStep,
        End end) {

    /** Why a run ended. */
    public enum End {
        ALL_STEPS,
        PATIENCE,
        STOP_REQUESTED
    }

    public TrainingResult {
        steps = List.copyOf(steps);
        evaluations = List.copyOf(evaluations);
    }

    /** Median over the steps of this attempt; NaN without any. */
    public double tokensPerSecond() {
        double[] sorted =
                steps.stream().mapToDouble(StepReport::tokensPerSecond).sorted().toArray();
        return sorted.length == 0 ? Double.NaN : sorted[sorted.length / 2];
    }
}
