package io.brazier.spark.ml;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.brazier.cuda.CudaBackend;
import java.util.List;
import org.apache.spark.SparkConf;
import org.junit.jupiter.api.Test;

class DeviceSettingsTest {
    private static SparkConf conf(String... settings) {
        SparkConf conf = new SparkConf(false).set("spark.master", "spark://host:7077");
        for (int x = 0; x < settings.length; x += 2) {
            conf.set(settings[x], settings[x + 1]);
        }
        return conf;
    }

    @Test
    void aGpuForEachTaskIsAskedFor() {
        SparkConf good = conf("spark.executor.resource.gpu.amount", "1", "spark.task.resource.gpu.amount", "1");
        assertEquals(List.of(), DeviceSettings.violations("cuda", good));
        assertEquals(List.of(), DeviceSettings.violations("auto", conf()));
        assertEquals(List.of(), DeviceSettings.violations("cuda", conf("spark.master", "local[2]")));
        assertEquals(
                List.of(
                        "device cuda needs GPUs that Spark assigns: set spark.executor.resource.gpu.amount to 1",
                        "device cuda needs one GPU for each task, but spark.task.resource.gpu.amount is not set: set it to 1"),
                DeviceSettings.violations("cuda", conf()));
        assertEquals(
                List.of(
                        "device cuda needs one GPU for each task, but spark.task.resource.gpu.amount is 0.5: set it to 1"),
                DeviceSettings.violations("cuda", good.clone().set("spark.task.resource.gpu.amount", "0.5")));
    }

    @Test
    void modesAreNamed() {
        assertEquals(CudaBackend.Mode.GRAPH, DeviceSettings.mode(conf()));
        assertEquals(CudaBackend.Mode.CHECKED, DeviceSettings.mode(conf("spark.brazier.cudaMode", "checked")));
        assertEquals(
                "spark.brazier.cudaMode is lazy, but must be one of graph, eager, checked",
                assertThrows(
                                IllegalArgumentException.class,
                                () -> DeviceSettings.mode(conf("spark.brazier.cudaMode", "lazy")))
                        .getMessage());
    }
}
