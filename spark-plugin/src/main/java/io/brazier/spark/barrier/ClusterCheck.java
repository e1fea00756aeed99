package io.brazier.spark.barrier;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.apache.spark.SparkConf;
import org.apache.spark.SparkContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Looks, on the driver and before anything runs, whether this cluster can run the job at all. */
final class ClusterCheck {
    private static final Logger LOG = LoggerFactory.getLogger(ClusterCheck.class);

    /** No further executor is expected this long after the last one registered, where nothing says how many are to come. */
    private static final double SETTLE_SECONDS = 4;

    private ClusterCheck() {}

    /**
     * Checks settings.
     *
     * @throws IllegalArgumentException naming every violation
     */
    static void settings(SparkConf conf, int numWorkers) {
        List<String> violations = new ArrayList<>();
        if (conf.getBoolean("spark.dynamicAllocation.enabled", false)) {
            violations.add("spark.dynamicAllocation.enabled is true, but a barrier job needs its " + numWorkers
                    + " executors throughout: set it to false");
        }
        if (conf.getBoolean("spark.speculation", false)) {
            violations.add("spark.speculation is true, but a rank must run once: set it to false");
        }
        for (String secured : List.of("spark.ssl.enabled", "spark.network.crypto.enabled", "spark.authenticate")) {
            if (numWorkers < 2 || !conf.getBoolean(secured, false)) {
                continue;
            }
            String fact =
                    secured + " is true, but ranks exchange gradients and activations authenticated and in plain text";
            if (conf.getBoolean(JobSettings.ALLOW_PLAINTEXT, false)) {
                LOG.warn("{}; {} allows it", fact, JobSettings.ALLOW_PLAINTEXT);
            } else {
                violations.add(fact + ": set " + JobSettings.ALLOW_PLAINTEXT + " to true to accept that");
            }
        }
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
    }

    /**
     * Waits until the barrier tasks can run at once. Gives up at once when the settings cannot ever provide them, after a
     * few seconds when no further executor comes, and at the limit otherwise.
     *
     * @throws IllegalArgumentException with the slots needed and available and the setting to change
     */
    static void slots(SparkContext context, Slots slots, JobSettings settings) {
        int numWorkers = slots.number();
        int expected = expectedSlots(context);
        if (expected >= 0 && expected < numWorkers) {
            throw tooFew(context, slots, expected);
        }
        long start = System.nanoTime();
        long lastChange = start;
        int available = available(context);
        while (available < numWorkers) {
            boolean settled = expected < 0 && available > 0 && seconds(lastChange) > SETTLE_SECONDS;
            if (settled || seconds(start) > settings.slotSeconds()) {
                throw tooFew(context, slots, available);
            }
            pause();
            int before = available;
            available = available(context);
            lastChange = available == before ? lastChange : System.nanoTime();
        }
    }

    /** Waits for the slots that were there before an executor was lost. */
    static boolean slotsReturn(SparkContext context, int numWorkers, JobSettings settings) {
        long start = System.nanoTime();
        while (!context.isStopped() && available(context) < numWorkers) {
            if (seconds(start) > settings.slotSeconds()) {
                return false;
            }
            pause();
        }
        return !context.isStopped();
    }

    static int taskCpus(SparkContext context) {
        return context.conf().getInt("spark.task.cpus", 1);
    }

    static int available(SparkContext context) {
        return context.maxNumConcurrentTasks(context.resourceProfileManager().defaultResourceProfile());
    }

    /** Slots that the settings promise, or -1 when they do not say. */
    private static int expectedSlots(SparkContext context) {
        SparkConf conf = context.conf();
        if (!context.master().startsWith("yarn") && !context.master().startsWith("k8s")) {
            return -1;
        }
        return conf.getInt("spark.executor.instances", 2)
                * (conf.getInt("spark.executor.cores", 1) / taskCpus(context));
    }

    private static IllegalArgumentException tooFew(SparkContext context, Slots needed, int available) {
        SparkConf conf = context.conf();
        return new IllegalArgumentException(needed.setting() + " needs " + needed.number()
                + " barrier tasks at once, but this application has " + available + " slots (spark.task.cpus "
                + taskCpus(context) + ", spark.executor.cores " + conf.get("spark.executor.cores", "default")
                + ", spark.executor.instances " + conf.get("spark.executor.instances", "default")
                + ", spark.cores.max " + conf.get("spark.cores.max", "default") + ", master " + context.master()
                + "): add executors, lower spark.task.cpus, or " + needed.remedy(available));
    }

    private static double seconds(long since) {
        return (System.nanoTime() - since) / 1e9;
    }

    private static void pause() {
        try {
            TimeUnit.MILLISECONDS.sleep(100);
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
            throw new IllegalStateException("interrupted while waiting for executors", e);
        }
    }
}
