package io.brazier.spark.cli;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;

/** Settings of Spark that training does not work with, or works badly. */
final class SettingsCheck {
    private static final String PLUGIN = "io.brazier.spark.plugin.BrazierPlugin";
    private static final List<String> ENCRYPTION =
            List.of("spark.ssl.enabled", "spark.network.crypto.enabled", "spark.authenticate");

    private SettingsCheck() {}

    static List<Finding> run(SparkConf conf) {
        List<Finding> findings = new ArrayList<>();
        if (conf.getBoolean("spark.dynamicAllocation.enabled", false)) {
            findings.add(Finding.fail(
                    "spark.dynamicAllocation.enabled",
                    "true: Spark refuses barrier stages with it",
                    "set it to false and spark.executor.instances to numWorkers"));
        }
        if (conf.getBoolean("spark.speculation", false)) {
            findings.add(Finding.warn(
                    "spark.speculation", "true: a second copy of a rank would be killed", "set it to false"));
        }
        int taskCpus = conf.getInt("spark.task.cpus", 1);
        int cores = conf.getInt("spark.executor.cores", taskCpus);
        if (taskCpus > cores) {
            findings.add(Finding.fail(
                    "spark.task.cpus",
                    taskCpus + " is more than spark.executor.cores " + cores,
                    "a rank's threads are its task's CPUs: set both to the cores of an executor"));
        } else if (cores > taskCpus) {
            findings.add(Finding.warn(
                    "spark.task.cpus",
                    taskCpus + " of spark.executor.cores " + cores,
                    "one rank an executor with all its cores is faster: set spark.task.cpus to " + cores));
        }
        for (String setting : ENCRYPTION) {
            if (conf.getBoolean(setting, false) && !conf.getBoolean("spark.brazier.allowPlaintext", false)) {
                findings.add(Finding.fail(
                        setting,
                        "true, but gradients travel between executors in plain text",
                        "set spark.brazier.allowPlaintext=true if the network between executors is trusted"));
            }
        }
        if (!conf.get("spark.plugins", "").contains(PLUGIN)) {
            findings.add(Finding.warn(
                    "spark.plugins",
                    "without the plugin executors load the native library when training starts, and Spark's metrics have"
                            + " no training in them",
                    "set spark.plugins=" + PLUGIN));
        }
        String master = conf.get("spark.master", "");
        boolean container = master.startsWith("yarn") || master.startsWith("k8s");
        if (container && !conf.contains("spark.executor.memoryOverhead")) {
            findings.add(Finding.warn(
                    "spark.executor.memoryOverhead",
                    "not set, and weights, gradients and optimizer live outside the heap",
                    "set it to 20 bytes a parameter plus 1 GiB"));
        }
        findings.addAll(GpuSettingsCheck.run(conf));
        if (findings.isEmpty()) {
            findings.add(Finding.ok("spark settings", "nothing against training"));
        }
        return findings;
    }
}
