package io.brazier.spark.ml;

import io.brazier.spark.barrier.BarrierJob;
import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import java.util.List;
import java.util.function.ToDoubleFunction;

/** What happened while a {@link CausalLMModel} was trained. A model that was loaded has none. */
public final class CausalLMSummary {
    private final List<StepReport> steps;
    private final List<EvaluationReport> evaluations;
    private final BarrierJob.Outcome outcome;

    CausalLMSummary(List<StepReport> steps, List<EvaluationReport> evaluations, BarrierJob.Outcome outcome) {
        this.steps = List.copyOf(steps);
        this.evaluations = List.copyOf(evaluations);
        this.outcome = outcome;
    }

    /** Every step of this run, in order; a resumed run begins where its checkpoint stood. */
    public List<StepReport> steps() {
        return steps;
    }

    /** Every measurement on the validation split, in order. */
    public List<EvaluationReport> evaluations() {
        return evaluations;
    }

    /** Training loss of each step, nats per token. */
    public double[] lossHistory() {
        return steps.stream().mapToDouble(StepReport::loss).toArray();
    }

    /** Steps done when the run ended. */
    public long numSteps() {
        return steps.isEmpty() ? 0 : steps.get(steps.size() - 1).step();
    }

    /** Loss of the last evaluation, nats per token; NaN when there was none. */
    public double validationLoss() {
        return evaluations.isEmpty()
                ? Double.NaN
                : evaluations.get(evaluations.size() - 1).loss();
    }

    /** exp of {@link #validationLoss}. */
    public double validationPerplexity() {
        return Math.exp(validationLoss());
    }

    /** Tokens over the time spent in steps, all ranks together. */
    public double tokensPerSecond() {
        return sum(StepReport::tokens) / sum(StepReport::seconds);
    }

    /** FLOPs that the model needs, over those that the ranks' devices could have done in the same time; in [0, 1]. */
    public double modelFlopsUtilization() {
        return sum(StepReport::modelFlops) / (sum(StepReport::seconds) * outcome.peakFlops());
    }

    /** Time spent in steps, seconds. */
    public double trainingSeconds() {
        return sum(StepReport::seconds);
    }

    /** What rank 0 computed on; where device was auto and that is the CPU, with the reason in a sentence. */
    public String device() {
        return outcome.device();
    }

    /** Attempts of the job after the first. */
    public int numRestarts() {
        return outcome.restarts();
    }

    private double sum(ToDoubleFunction<StepReport> value) {
        return steps.stream().mapToDouble(value).sum();
    }
}
