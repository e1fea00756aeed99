package io.brazier.spark.barrier;

import org.apache.spark.SparkConf;

/**
 * Limits of a job, from Spark's configuration.
 *
 * @param slotSeconds how long executors that the settings promise may take to come; {@code spark.brazier.slotTimeout}
 * @param heartbeatSeconds silence after which a rank's process counts as dead; {@code spark.brazier.heartbeatTimeout}
 * @param collectiveSeconds how long a collective call may stand still; {@code spark.brazier.collectiveTimeout}
 */
record JobSettings(double slotSeconds, double heartbeatSeconds, double collectiveSeconds) {
    /** Allows gradients in plain text beside an encrypted Spark. */
    static final String ALLOW_PLAINTEXT = "spark.brazier.allowPlaintext";

    static JobSettings of(SparkConf conf) {
        return new JobSettings(
                conf.getTimeAsMs("spark.brazier.slotTimeout", "120s") / 1e3,
                conf.getTimeAsMs("spark.brazier.heartbeatTimeout", "15s") / 1e3,
                conf.getTimeAsMs("spark.brazier.collectiveTimeout", "300s") / 1e3);
    }
}
