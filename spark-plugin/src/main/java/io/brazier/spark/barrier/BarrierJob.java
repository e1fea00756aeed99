package io.brazier.spark.barrier;

import io.brazier.spark.barrier.JobChannel.Failure;
import io.brazier.spark.barrier.JobChannel.Pulse;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.EnumSet;
import java.util.Optional;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.LongFunction;
import java.util.function.LongSupplier;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaFutureAction;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.rdd.RDD;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.reflect.ClassTag$;

/**
 * A job of one task per rank, all at once or not at all, which is started anew when it fails. The loop is the driver's own: Spark
 * never retries a barrier stage that returns a result.
 */
public final class BarrierJob {
    private static final Logger LOG = LoggerFactory.getLogger(BarrierJob.class);
    private static final int SAME_STEP_LIMIT = 3;

    /** What the next attempt would only meet again. */
    private static final Set<Category> FINAL = EnumSet.of(Category.CONFIG, Category.DATA, Category.CHECKPOINT);

    /** A driver has one SparkContext; two barrier jobs on its slots would starve each other. */
    private static final Semaphore ONE_AT_A_TIME = new Semaphore(1, true);

    private final SparkContext context;
    private final int numWorkers;
    private final int maxFailures;
    private final JobSettings settings;

    /**
     * What came of the job.
     *
     * @param restarts attempts after the first
     * @param device what rank 0 computed on, and why where that was left open
     * @param peakFlops FLOP/s that all ranks together could reach, as they reported it
     */
    public record Outcome(int restarts, String device, double peakFlops) {}

    /** @param maxFailures failed attempts that are followed by another one */
    public BarrierJob(SparkContext context, int numWorkers, int maxFailures) {
        this.context = context;
        this.numWorkers = numWorkers;
        this.maxFailures = maxFailures;
        this.settings = JobSettings.of(context.conf());
    }

    /**
     * Refuses what cannot run here, within seconds.
     *
     * @throws IllegalArgumentException naming the settings to change
     */
    public void validate() {
        ClusterCheck.settings(context.conf(), numWorkers);
        ClusterCheck.slots(context, Slots.ofWorkers(numWorkers), settings);
    }

    /**
     * Runs the work on numWorkers ranks, which read one partition each, until it succeeds.
     *
     * @param work of an attempt, by its generation
     * @param generations gives the next generation and shuts out all older ones
     * @param progress hears of rank 0's steps on the driver
     * @param inbox directory on the driver that receives rank 0's files
     * @throws TrainingException when an attempt fails for good
     */
    public <T> Outcome run(
            JavaRDD<T> data,
            LongFunction<RankWork<T>> work,
            LongSupplier generations,
            TrainingListener progress,
            Path inbox) {
        if (!ONE_AT_A_TIME.tryAcquire()) {
            LOG.warn("Another training job of this application runs; this one waits for it");
            ONE_AT_A_TIME.acquireUninterruptibly();
        }
        try (JobChannel channel = new JobChannel("brazier-" + UUID.randomUUID(), progress, inbox)) {
            return retry(data, work, generations, channel, RankAttempt.Terms.newSecret());
        } finally {
            ONE_AT_A_TIME.release();
        }
    }

    private <T> Outcome retry(
            JavaRDD<T> data,
            LongFunction<RankWork<T>> work,
            LongSupplier generations,
            JobChannel channel,
            byte[] secret) {
        int failures = 0;
        int atSameStep = 0;
        long previousStep = Long.MIN_VALUE;
        while (true) {
            long generation = generations.getAsLong();
            channel.begin(generation);
            RankWork<T> attempt = work.apply(generation);
            RankTask<T> task = new RankTask<>(
                    attempt,
                    new RankAttempt.Terms(
                            generation, secret, attempt.groupSize(), numWorkers, settings.collectiveSeconds()),
                    channel.name());
            try {
                runOnce(data, task, channel);
                return new Outcome(failures, channel.device(), channel.peakFlops());
            } catch (TrainingException e) {
                failures++;
                atSameStep = channel.lastStep() == previousStep ? atSameStep + 1 : 1;
                previousStep = channel.lastStep();
                refuseRetry(e, failures, atSameStep, previousStep);
                LOG.warn("Attempt {} of the training job failed and is repeated: {}", failures, e.getMessage());
            }
            pause();
            if (!ClusterCheck.slotsReturn(context, numWorkers, settings)) {
                throw new TrainingException(
                        Category.DEVICE,
                        "the " + numWorkers + " slots of the job did not come back within " + settings.slotSeconds()
                                + " s (spark.brazier.slotTimeout)");
            }
        }
    }

    private void refuseRetry(TrainingException failure, int failures, int atSameStep, long step) {
        Category category = failure.category();
        if (context.isStopped() || FINAL.contains(category)) {
            throw failure;
        }
        String cause = failure.getMessage().substring((category + ": ").length());
        if (atSameStep >= SAME_STEP_LIMIT && step >= 0) {
            throw new TrainingException(
                    category,
                    "no progress: failed " + atSameStep + " times after step " + step + ": " + cause,
                    failure);
        }
        if (failures > maxFailures) {
            throw new TrainingException(
                    category, "failed " + failures + " times, maxFailures is " + maxFailures + ": " + cause, failure);
        }
    }

    /** One attempt; throws a TrainingException with the root cause. */
    private <T> void runOnce(JavaRDD<T> data, RankTask<T> task, JobChannel channel) {
        RDD<Integer> ranks = data.rdd().barrier().mapPartitions(task, false, ClassTag$.MODULE$.apply(Integer.class));
        JavaFutureAction<?> action =
                JavaRDD.fromRDD(ranks, ClassTag$.MODULE$.apply(Integer.class)).collectAsync();
        try {
            while (true) {
                try {
                    action.get(200, TimeUnit.MILLISECONDS);
                    return;
                } catch (TimeoutException e) {
                    endSilent(channel, action);
                }
            }
        } catch (InterruptedException e) {
            action.cancel(true);
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted while training");
        } catch (ExecutionException e) {
            throw rootCause(channel, e.getCause());
        }
    }

    /** A process that is stopped or cut off holds its slot until Spark's own, long timeout; it is ended here. */
    private void endSilent(JobChannel channel, JavaFutureAction<?> action) {
        Optional<Pulse> silent = channel.silent(settings.heartbeatSeconds());
        if (silent.isEmpty()) {
            return;
        }
        Pulse rank = silent.get();
        if (!context.isLocal()) {
            context.killAndReplaceExecutor(rank.executorId());
        }
        action.cancel(true);
        throw new TrainingException(
                Category.DEVICE,
                "executor " + rank.executorId() + " on " + rank.host() + " was silent for "
                        + settings.heartbeatSeconds() + " s (spark.brazier.heartbeatTimeout) after step "
                        + Math.max(channel.lastStep(), 0) + " and is replaced");
    }

    private RuntimeException rootCause(JobChannel channel, Throwable sparkFailure) {
        String text = String.valueOf(sparkFailure.getMessage());
        Optional<Failure> root = channel.rootFailure();
        if (root.isPresent()) {
            return new TrainingException(root.get().category(), root.get().message(), sparkFailure);
        }
        if (text.matches("(?s).*Job \\S+ (has been )?cancelled.*")) {
            return new CancellationException("the training job was cancelled after step " + channel.lastStep());
        }
        String cause = text.lines()
                .filter(line -> line.startsWith("ExecutorLostFailure"))
                .findFirst()
                .orElse(text.lines().findFirst().orElse(""));
        return new TrainingException(
                Category.DEVICE, "after step " + Math.max(channel.lastStep(), 0) + ": " + cause, sparkFailure);
    }

    private static void pause() {
        try {
            TimeUnit.SECONDS.sleep(1);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new CancellationException("interrupted between two attempts");
        }
    }
}
