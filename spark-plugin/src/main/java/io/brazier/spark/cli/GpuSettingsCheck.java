package io.brazier.spark.cli;

import java.util.ArrayList;
import java.util.List;
import org.apache.spark.SparkConf;

/** Settings by which Spark gives a rank its GPU. */
final class GpuSettingsCheck {
    private static final String EXECUTOR = "spark.executor.resource.gpu.amount";
    private static final String TASK = "spark.task.resource.gpu.amount";
    private static final String SCRIPT = "spark.executor.resource.gpu.discoveryScript";
    private static final String PLUGIN = "spark.resources.discoveryPlugin";
    private static final String VENDOR = "spark.executor.resource.gpu.vendor";

    private GpuSettingsCheck() {}

    /** Nothing, where no GPUs are asked of Spark. */
    static List<Finding> run(SparkConf conf) {
        List<Finding> findings = new ArrayList<>();
        if (!conf.contains(EXECUTOR) && !conf.contains(TASK)) {
            return findings;
        }
        amounts(conf, findings);
        String master = conf.get("spark.master", "");
        boolean kubernetes = master.startsWith("k8s");
        if ((kubernetes || master.startsWith("yarn")) && !conf.contains(SCRIPT) && !conf.contains(PLUGIN)) {
            findings.add(
                    Finding.fail(
                            SCRIPT,
                            "not set, so executors do not know which GPUs they were given",
                            "set it to a copy of bin/gpu-discovery that lies beside Brazier's jar on every node or in the image"));
        }
        if (kubernetes && !conf.contains(VENDOR)) {
            findings.add(Finding.fail(VENDOR, "not set: Kubernetes needs it", "set it to nvidia.com"));
        }
        return findings;
    }

    private static void amounts(SparkConf conf, List<Finding> findings) {
        String executor = conf.get(EXECUTOR, "not set");
        String task = conf.get(TASK, "not set");
        double perTask = number(task);
        if (perTask != 1) {
            findings.add(Finding.fail(
                    TASK,
                    task + (perTask < 1 ? ": NCCL refuses two ranks on one GPU" : ": a rank computes on one GPU"),
                    "set it to 1"));
        }
        double perExecutor = number(executor);
        if (perExecutor > 1) {
            findings.add(Finding.warn(
                    EXECUTOR,
                    executor + ": as many ranks share a process, and a CUDA error of one ends all",
                    "set it to 1 and start an executor for each GPU"));
        } else if (perExecutor != 1) {
            findings.add(Finding.fail(EXECUTOR, executor + ", and " + TASK + " is " + task, "set both to 1"));
        }
    }

    /** NaN for what is none. */
    private static double number(String text) {
        try {
            return Double.parseDouble(text);
        } catch (NumberFormatException e) {
            return Double.NaN;
        }
    }
}
