package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.apache.commons.io.FileUtils;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What runs of any layout leave behind and tell: the same finished model, a run that goes on, the account of experts. */
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

    @Test
    void aRunInBrainFloatsGoesOnFromItsMasters() throws Exception {
        CausalLM estimator =
                estimator().setPrecision("bf16").setDropout(0.1).setZeroStage(1).setCheckpointInterval(3);
        byte[] uninterrupted = Weights.of(estimator.fit(book()));
        FileUtils.deleteDirectory(directory.resolve("step-00000006").toFile());
        CausalLMModel resumed = estimator.fit(book());
        assertEquals(3, resumed.summary().lossHistory().length);
        assertArrayEquals(uninterrupted, Weights.of(resumed));
    }

    @Test
    void aMachineWithoutGpuTrainsOnItsProcessorAndSaysWhy() {
        String reason = "rank 0 has no GPU: no NVIDIA driver: libcuda.so.1 is in none of [";
        String device = estimator().fit(book()).summary().device();
        assertTrue(device.startsWith("the CPU, as " + reason), device);
        TrainingException refused = assertThrows(
                TrainingException.class, () -> estimator().setDevice("cuda").fit(book()));
        assertEquals(TrainingException.Category.CONFIG, refused.category());
        assertTrue(refused.getMessage().contains(reason), refused.getMessage());
        assertTrue(refused.getMessage().endsWith("; or set device to cpu"), refused.getMessage());
    }

    @Test
    void whatExpertsDropAndTheirBalanceReachTheDriver() {
        List<StepReport> heard = new ArrayList<>();
        CausalLMModel model = estimator()
                .setModelType("llama")
                .setNumExperts(4)
                .setExpertsPerToken(2)
                .setCapacityFactor(0.5)
                .setBalanceCoefficient(0.5)
                .setExpertParallel(2)
                .setListener(new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        heard.add(report);
                    }
                })
                .fit(book());
        assertEquals(6, heard.size());
        assertEquals(heard, model.summary().steps());
        long chosen = 2 * 2 * 4 * 16;
        for (StepReport step : heard) {
            // Slots for half of what is chosen; two blocks, each at least the coefficient: tokens spread evenly give
            // it.
            assertTrue(step.droppedTokens() >= chosen / 2 && step.droppedTokens() < chosen, step.toString());
            assertTrue(step.balanceLoss() > 0.9 && step.balanceLoss() < 5, step.toString());
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
