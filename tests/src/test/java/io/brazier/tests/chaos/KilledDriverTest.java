package io.brazier.tests.chaos;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.tests.spark.SparkCluster;
import io.brazier.tests.spark.Weights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/** kill -9 of the driver: its executors go away, and the same submit goes on from the last checkpoint to the same weights. */
class KilledDriverTest {
    private static final int STEPS = 400;

    @Test
    void theNextSubmitGoesOnFromTheLastCheckpoint() throws Exception {
        try (SparkCluster cluster = SparkCluster.start(2)) {
            Path directory = cluster.directory("models");
            finish(submit(cluster, directory, "undisturbed"), cluster);

            Process victim = submit(cluster, directory, "killed");
            Path progress = directory.resolve("killed.progress");
            SparkCluster.await("some checkpoints", 120, () -> steps(progress) > STEPS / 4);
            victim.destroyForcibly();
            SparkCluster.await(
                    "the end of the executors", 30, () -> cluster.executors().isEmpty());

            finish(submit(cluster, directory, "killed"), cluster);
            int stepsDone = Integer.parseInt(Files.readString(directory.resolve("killed.steps")));
            assertTrue(stepsDone < STEPS, stepsDone + " steps after the resume");
            assertArrayEquals(Weights.in(directory.resolve("undisturbed")), Weights.in(directory.resolve("killed")));
        }
    }

    private static Process submit(SparkCluster cluster, Path directory, String name) throws IOException {
        return cluster.submit(
                TrainingDriver.class,
                Map.of("spark.ui.enabled", "false"),
                directory.resolve(name + ".log"),
                directory.resolve(name + "-checkpoints").toString(),
                directory.resolve(name).toString(),
                "" + STEPS);
    }

    private static void finish(Process driver, SparkCluster cluster) throws Exception {
        assertTrue(driver.waitFor(180, TimeUnit.SECONDS), "the driver did not end\n" + cluster.logs());
        assertEquals(0, driver.exitValue(), cluster::logsOrReason);
    }

    private static int steps(Path progress) {
        try {
            return Files.exists(progress) ? Integer.parseInt("0" + Files.readString(progress)) : 0;
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
