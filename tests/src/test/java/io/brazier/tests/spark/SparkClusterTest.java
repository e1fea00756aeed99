package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;

/** The harness itself: two executor JVMs come up, one is killed, Spark replaces it. */
class SparkClusterTest {
    @Test
    void executorsComeAndAreReplacedAfterAKill() throws Exception {
        try (SparkCluster cluster = SparkCluster.start(2)) {
            SparkConf conf = new SparkConf()
                    .setMaster(cluster.masterUrl())
                    .setAppName("harness")
                    .set("spark.ui.enabled", "false");
            try (JavaSparkContext context = new JavaSparkContext(conf)) {
                assertEquals(4L, context.parallelize(List.of(1, 2, 3, 4), 2).count());
                SparkCluster.await(
                        "two executors", 30, () -> cluster.executors().size() == 2);
                ProcessHandle victim = cluster.executors().get(0);
                cluster.kill(victim);
                SparkCluster.await(
                        "a new executor",
                        30,
                        () -> cluster.executors().size() == 2
                                && !cluster.executors().contains(victim));
                assertEquals(4L, context.parallelize(List.of(1, 2, 3, 4), 2).count());
            }
        }
    }
}
