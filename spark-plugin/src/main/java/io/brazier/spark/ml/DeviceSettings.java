package io.brazier.spark.ml;

import io.brazier.cuda.CudaBackend;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.stream.Collectors;
import org.apache.spark.SparkConf;

/** Settings of Spark that a GPU for each rank takes. */
final class DeviceSettings {
    private static final String MODE = "spark.brazier.cudaMode";
    private static final String TASK = "spark.task.resource.gpu.amount";
    private static final String EXECUTOR = "spark.executor.resource.gpu.amount";

    private DeviceSettings() {}

    /**
     * How work is given to a GPU.
     *
     * @throws IllegalArgumentException naming the values there are
     */
    static CudaBackend.Mode mode(SparkConf conf) {
        String name = conf.get(MODE, "graph");
        return Arrays.stream(CudaBackend.Mode.values())
                .filter(mode -> mode.name().equalsIgnoreCase(name))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException(MODE + " is " + name + ", but must be one of "
                        + Arrays.stream(CudaBackend.Mode.values())
                                .map(mode -> mode.name().toLowerCase(Locale.ROOT))
                                .collect(Collectors.joining(", "))));
    }

    /**
     * Why Spark would not give every task a GPU of its own.
     *
     * @param device the param
     */
    static List<String> violations(String device, SparkConf conf) {
        List<String> violations = new ArrayList<>();
        if (!device.equals("cuda") || conf.get("spark.master", "").startsWith("local")) {
            return violations;
        }
        if (!conf.contains(EXECUTOR)) {
            violations.add("device cuda needs GPUs that Spark assigns: set " + EXECUTOR + " to 1");
        }
        if (conf.getDouble(TASK, 0) != 1) {
            violations.add("device cuda needs one GPU for each task, but " + TASK + " is " + conf.get(TASK, "not set")
                    + ": set it to 1");
        }
        return violations;
    }
}
