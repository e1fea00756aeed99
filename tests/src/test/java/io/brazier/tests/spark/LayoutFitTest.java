package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A run that one layout finished is given back by every other as the same file, whatever ranks keep of it. */
class LayoutFitTest {
    private static SparkSession spark;

    @TempDir
    Path directory;

    @BeforeAll
    static void start() {
        spark = SparkSession.builder()
                .master("local[2]")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .getOrCreate();
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    @Test
    void everyLayoutGivesBackTheSameModel() throws Exception {
        List<UnaryOperator<CausalLM>> layouts = List.of(
                e -> e.setTensorParallel(2).setSequenceParallel(true),
                e -> e.setNumWorkers(1),
                e -> e.setPipelineParallel(2),
                e -> e.setZeroStage(3),
                e -> e.setContextParallel(2));
        byte[] first = null;
        for (UnaryOperator<CausalLM> layout : layouts) {
            CausalLMModel model = layout.apply(estimator()).fit(book());
            byte[] weights = Weights.of(model);
            if (first == null) {
                first = weights;
                assertEquals(6, model.summary().numSteps());
            }
            assertArrayEquals(first, weights);
        }
    }

    private CausalLM estimator() {
        return new CausalLM()
                .setNumLayers(2)
                .setNumHeads(2)
                .setWidth(24)
                .setSequenceLength(16)
                .setBatchSize(4)
                .setNumMicroBatches(2)
                .setNumSteps(6)
                .setNumWorkers(2)
                .setCheckpointDir(directory.toString());
    }

    private static Dataset<Row> book() {
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < 60; x++) {
            rows.add("verse " + x + ": and it came to pass that the number was " + x * x);
        }
        return spark.createDataset(rows, Encoders.STRING()).toDF("text");
    }
}
