package io.brazier.train;

import io.brazier.checkpoint.CheckpointStore;
import io.brazier.collective.Communicator;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.nn.ModelConfig;
import io.brazier.optim.LearningRateSchedule;
import io.brazier.plan.Layout;
import io.brazier.train.TrainingListener.Phase;
import io.brazier.train.TrainingResult.End;
import java.nio.ByteBuffer;
import java.nio.IntBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/** The loop of one rank. Every rank runs it with equal settings; they take the same decisions from the same numbers. */
public final class Trainer {
    /** Steps between questions whether somebody wants to stop; each costs a round of small messages. */
    private static final int STOP_INTERVAL = 10;

    /** Steps without an update, one after the other, that end a run in spite of SKIP. */
    private static final int MAX_SKIPPED = 10;

    /**
     * What a rank needs. Nothing of it is closed here.
     *
     * @param checkpoints where to save and resume; empty to do neither
     * @param generation number of the attempt; checkpoints of an older one cannot commit
     */
    public record Run(
            ModelConfig model,
            Layout layout,
            TrainingConfig config,
            Communicator communicator,
            TrainingEngine engine,
            BatchSource batches,
            Optional<CheckpointStore> checkpoints,
            Resume resume,
            int generation,
            TrainingListener listener) {}

    private final Run run;
    private final TrainingConfig config;
    private final LearningRateSchedule schedule;
    private final List<StepReport> steps = new ArrayList<>();
    private final List<EvaluationReport> evaluations = new ArrayList<>();
    private final IntBuffer tokens;
    private final IntBuffer targets;
    private final Progress progress = new Progress();

    private Trainer(Run run) {
        this.run = run;
        this.config = run.config();
        this.schedule = new LearningRateSchedule(
                config.learningRate(), config.minLearningRate(), config.warmupSteps(), config.numSteps());
        int ids = config.microBatchSize(run.layout().mesh()) * config.sequenceLength();
        this.tokens = IntBuffer.allocate(ids);
        this.targets = IntBuffer.allocate(ids);
    }

    /**
     * Trains to the end.
     *
     * @throws TrainingException when a loss or gradient is not finite, or a checkpoint to resume from does not fit
     */
    public static TrainingResult run(Run run) {
        Trainer trainer = new Trainer(run);
        int patience = run.config().patience();
        if (patience == 0) {
            return trainer.train(Optional.empty());
        }
        if (run.batches().numValidationSamples() == 0) {
            throw new TrainingException(
                    TrainingException.Category.CONFIG,
                    "patience " + patience + " needs validation samples, and there are none: set patience to 0, or "
                            + "validationFraction so high that its part of the text has more than sequenceLength "
                            + run.config().sequenceLength() + " tokens");
        }
        try (WeightsCopy best = new WeightsCopy(run.engine())) {
            return trainer.train(Optional.of(best));
        }
    }

    private TrainingResult train(Optional<WeightsCopy> best) {
        Optional<TrainingCheckpoints> checkpoints =
                run.checkpoints().map(store -> new TrainingCheckpoints(run, store, best));
        checkpoints.ifPresent(c -> c.resume(progress));
        long firstStep = progress.step;
        boolean stop = false;
        while (progress.step < config.numSteps() && !impatient() && !stop) {
            step();
            stop = stopRequested();
            boolean last = progress.step == config.numSteps();
            if (last || due(config.evaluationInterval())) {
                evaluate(best);
            }
            if (last || stop || impatient() || due(config.checkpointInterval())) {
                checkpoints.ifPresent(c -> c.save(progress));
            }
        }
        if (progress.bestStep > 0) {
            best.ifPresent(WeightsCopy::restore);
        }
        End end = stop ? End.STOP_REQUESTED : impatient() ? End.PATIENCE : End.ALL_STEPS;
        return new TrainingResult(progress.step, firstStep, steps, evaluations, progress.bestStep, end);
    }

    private boolean impatient() {
        return config.patience() > 0 && progress.evaluationsSinceBest >= config.patience();
    }

    private boolean due(long interval) {
        return interval > 0 && progress.step % interval == 0;
    }

    private void step() {
        run.listener().onPhase(progress.step, Phase.STEP);
        long begin = System.nanoTime();
        long step = progress.step;
        double rate = schedule.rate(step);
        StepOutcome outcome = run.engine().step(step, rate, (microBatch, stepTokens, stepTargets) -> run.batches()
                .readTraining(step, microBatch, stepTokens, stepTargets));
        progress.step++;
        checkFinite(outcome);
        long numTokens = (long) config.batchSize() * config.sequenceLength();
        StepReport report = new StepReport(
                progress.step,
                config.numSteps(),
                outcome.loss(),
                outcome.gradientNorm(),
                rate,
                numTokens,
                (System.nanoTime() - begin) * 1e-9,
                numTokens * run.model().trainingFlopsPerToken(config.sequenceLength()),
                run.engine().memoryBytes(),
                outcome.balanceLoss(),
                outcome.droppedTokens());
        steps.add(report);
        run.listener().onStep(report);
    }

    private void checkFinite(StepOutcome outcome) {
        progress.skipped = outcome.updated() ? 0 : progress.skipped + 1;
        if (outcome.updated()) {
            return;
        }
        String what = "step " + progress.step + " on rank " + run.communicator().rank() + ": loss " + outcome.loss()
                + ", gradient norm " + outcome.gradientNorm() + " is not finite; no weight was changed";
        String remedy = ": lower learningRate " + config.learningRate() + " or maxGradientNorm "
                + config.maxGradientNorm() + ", or lengthen warmupSteps " + config.warmupSteps();
        if (config.nonFinite() == TrainingConfig.NonFinite.STOP) {
            throw new TrainingException(
                    TrainingException.Category.DATA, what + remedy + ", or set nonFinite to skip such steps");
        }
        if (progress.skipped >= MAX_SKIPPED) {
            throw new TrainingException(
                    TrainingException.Category.DATA,
                    what + "; that is the " + MAX_SKIPPED + "th step in a row" + remedy);
        }
        run.listener().onWarning(what + "; the step is skipped");
    }

    private boolean stopRequested() {
        if (progress.step % STOP_INTERVAL != 0) {
            return false;
        }
        byte mine = (byte) (run.communicator().rank() == 0 && run.listener().stopRequested() ? 1 : 0);
        return run.communicator().size() == 1
                ? mine == 1
                : run.communicator().allGatherBytes(new byte[] {mine})[0][0] == 1;
    }

    private void evaluate(Optional<WeightsCopy> best) {
        long numSamples = run.batches().numValidationSamples();
        if (numSamples == 0) {
            return;
        }
        run.listener().onPhase(progress.step, Phase.EVALUATE);
        int rowsPerBatch = config.batchSize() / config.numMicroBatches();
        long numBatches = (numSamples + rowsPerBatch - 1) / rowsPerBatch;
        double sum = 0;
        for (int x = 0; x < numBatches; x++) {
            run.batches().readValidation(x, tokens.clear(), targets.clear());
            sum += run.engine().evaluate(tokens.clear(), targets.clear());
        }
        long numTokens = numSamples * config.sequenceLength();
        EvaluationReport report = new EvaluationReport(progress.step, sumOverRanks(sum) / numTokens, numTokens);
        evaluations.add(report);
        if (report.loss() < progress.bestLoss) {
            progress.bestLoss = report.loss();
            progress.bestStep = progress.step;
            progress.evaluationsSinceBest = 0;
            best.ifPresent(WeightsCopy::take);
        } else {
            progress.evaluationsSinceBest++;
        }
        run.listener().onEvaluation(report);
    }

    /** Sum in rank order, in double, so that all ranks get equal bits. */
    private double sumOverRanks(double mine) {
        byte[] bytes = ByteBuffer.allocate(Double.BYTES).putDouble(mine).array();
        double sum = 0;
        for (byte[] part : run.communicator().allGatherBytes(bytes)) {
            sum += ByteBuffer.wrap(part).getDouble();
        }
        return sum;
    }

    /** What a resumed run must know beside weights and moments. */
    static final class Progress {
        long step;
        double bestLoss = Double.POSITIVE_INFINITY;
        long bestStep;
        int evaluationsSinceBest;
        int skipped;
    }
}
