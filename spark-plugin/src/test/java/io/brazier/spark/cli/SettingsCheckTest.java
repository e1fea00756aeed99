package io.brazier.spark.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;

class SettingsCheckTest {
    private static SparkConf conf(String... settings) {
        SparkConf conf = new SparkConf(false).set("spark.plugins", "io.brazier.spark.plugin.BrazierPlugin");
        for (int i = 0; i < settings.length; i += 2) {
            conf.set(settings[i], settings[i + 1]);
        }
        return conf;
    }

    private static List<String> found(SparkConf conf) {
        return SettingsCheck.run(conf).stream()
                .map(finding -> finding.level() + " " + finding.subject())
                .toList();
    }

    @Test
    void nothingIsSaidAgainstGoodSettings() {
        assertEquals(List.of("OK spark settings"), found(conf("spark.executor.cores", "8", "spark.task.cpus", "8")));
    }

    @Test
    void namesEverySettingThatStopsTraining() {
        assertEquals(
                List.of(
                        "FAIL spark.dynamicAllocation.enabled",
                        "FAIL spark.task.cpus",
                        "FAIL spark.network.crypto.enabled"),
                found(conf(
                        "spark.dynamicAllocation.enabled", "true",
                        "spark.task.cpus", "4",
                        "spark.executor.cores", "2",
                        "spark.network.crypto.enabled", "true")));
    }

    @Test
    void plainTextMayBeAllowed() {
        assertEquals(
                List.of("OK spark settings"),
                found(conf("spark.authenticate", "true", "spark.brazier.allowPlaintext", "true")));
    }

    @Test
    void warnsOfWhatSlowsTrainingDown() {
        SparkConf conf = conf("spark.master", "yarn", "spark.executor.cores", "4", "spark.speculation", "true");
        conf.remove("spark.plugins");
        assertEquals(
                List.of(
                        "WARN spark.speculation",
                        "WARN spark.task.cpus",
                        "WARN spark.plugins",
                        "WARN spark.executor.memoryOverhead"),
                found(conf));
    }

    private static final String EXECUTOR_GPUS = "spark.executor.resource.gpu.amount";
    private static final String TASK_GPUS = "spark.task.resource.gpu.amount";

    @Test
    void oneGpuForEachRankIsGood() {
        assertEquals(
                List.of("OK spark settings"),
                found(conf("spark.master", "spark://driver:7077", EXECUTOR_GPUS, "1", TASK_GPUS, "1")));
    }

    @Test
    void refusesAmountsThatGiveARankNoGpuOfItsOwn() {
        for (String amount : List.of("0.5", "2", "many")) {
            assertEquals(List.of("FAIL " + TASK_GPUS), found(conf(EXECUTOR_GPUS, "1", TASK_GPUS, amount)));
        }
        assertEquals(List.of("FAIL " + TASK_GPUS), found(conf(EXECUTOR_GPUS, "1")));
        assertEquals(List.of("FAIL " + EXECUTOR_GPUS), found(conf(TASK_GPUS, "1")));
        assertEquals(List.of("WARN " + EXECUTOR_GPUS), found(conf(EXECUTOR_GPUS, "8", TASK_GPUS, "1")));
    }

    @Test
    void containersMustFindTheirGpus() {
        String script = "spark.executor.resource.gpu.discoveryScript";
        SparkConf conf = conf(
                "spark.master", "k8s://api", EXECUTOR_GPUS, "1", TASK_GPUS, "1", "spark.executor.memoryOverhead", "4g");
        assertEquals(List.of("FAIL " + script, "FAIL spark.executor.resource.gpu.vendor"), found(conf));
        conf.set(script, "/opt/spark/gpu-discovery").set("spark.executor.resource.gpu.vendor", "nvidia.com");
        assertEquals(List.of("OK spark settings"), found(conf));
    }
}
