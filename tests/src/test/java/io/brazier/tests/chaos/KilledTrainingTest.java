package io.brazier.tests.chaos;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.tests.spark.SparkCluster;
import io.brazier.tests.spark.Weights;
import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Two executor JVMs train; one is killed in the middle. The job ends by itself, with the weights of a run that nobody disturbed, to
 * the bit, and leaves one committed checkpoint per step and nothing else.
 */
class KilledTrainingTest {
    private static final long STEPS = 40;

    private static SparkCluster cluster;
    private static SparkSession spark;
    private static byte[] undisturbed;

    /** A layout by name. */
    private record Setting(String name, UnaryOperator<CausalLM> set) {
        @Override
        public String toString() {
            return name;
        }
    }

    @TempDir
    Path directory;

    /** When the executor is killed. */
    private interface Moment {
        boolean isNow(long step, boolean evaluated, boolean saved);
    }

    @BeforeAll
    static void start() throws Exception {
        cluster = SparkCluster.start(2);
        spark = SparkSession.builder()
                .master(cluster.masterUrl())
                .appName("killed training")
                .config("spark.ui.enabled", "false")
                .config("spark.local.dir", cluster.directory("driver").toString())
                .getOrCreate();
        undisturbed = Weights.of(estimator().fit(book()));
    }

    @AfterAll
    static void stop() {
        if (spark != null) {
            spark.stop();
        }
        if (cluster != null) {
            cluster.close();
        }
    }

    @Test
    void beforeTheFirstCheckpoint() throws Exception {
        survives(estimator(), undisturbed, (step, evaluated, saved) -> step == 3);
    }

    @Test
    void betweenTwoCheckpoints() throws Exception {
        survives(estimator(), undisturbed, (step, evaluated, saved) -> step == 17);
    }

    @Test
    void whenACheckpointWasJustWritten() throws Exception {
        survives(estimator(), undisturbed, (step, evaluated, saved) -> saved && step == 20);
    }

    @Test
    void afterTheLastEvaluation() throws Exception {
        survives(estimator(), undisturbed, (step, evaluated, saved) -> evaluated && step == STEPS);
    }

    static Stream<Setting> shared() {
        return Stream.of(
                new Setting("tp 2", lm -> lm.setTensorParallel(2)),
                new Setting("pp 2", lm -> lm.setPipelineParallel(2).setNumMicroBatches(4)),
                new Setting("zero 3", lm -> lm.setZeroStage(3)),
                new Setting("zero 1 bf16", lm -> lm.setZeroStage(1).setPrecision("bf16")));
    }

    /** No rank has all that the other lost: only the checkpoint brings it back. */
    @ParameterizedTest
    @MethodSource("shared")
    void whereRanksShareTheModel(Setting layout) throws Exception {
        CausalLMModel model = layout.set().apply(estimator()).fit(book());
        survives(layout.set().apply(estimator()), Weights.of(model), (step, evaluated, saved) -> step == 17);
    }

    private void survives(CausalLM estimator, byte[] expected, Moment moment) throws Exception {
        Path checkpoints = directory.resolve("checkpoints");
        AtomicBoolean killed = new AtomicBoolean();
        TrainingListener villain = new TrainingListener() {
            private long step;

            @Override
            public void onStep(StepReport report) {
                step = report.step();
                check(false, false);
            }

            @Override
            public void onEvaluation(EvaluationReport report) {
                check(true, false);
            }

            @Override
            public void onCheckpoint(long at, String path) {
                check(false, true);
            }

            private void check(boolean evaluated, boolean saved) {
                if (moment.isNow(step, evaluated, saved) && killed.compareAndSet(false, true)) {
                    cluster.kill(cluster.executors().get(0));
                }
            }
        };
        CausalLMModel model = estimator
                .setCheckpointDir(checkpoints.toString())
                .setCheckpointInterval(5)
                .setListener(villain)
                .fit(book());
        assertTrue(killed.get());
        assertTrue(model.summary().numRestarts() >= 1);
        assertArrayEquals(expected, Weights.of(model));
        assertEquals(STEPS, model.summary().lossHistory().length);
        onlyCommittedCheckpointsIn(checkpoints);
    }

    private static void onlyCommittedCheckpointsIn(Path checkpoints) throws Exception {
        try (Stream<Path> files = Files.list(checkpoints)) {
            List<String> names = files.map(file -> file.getFileName().toString())
                    .filter(name -> !name.endsWith(".crc"))
                    .collect(Collectors.toList());
            assertFalse(names.stream().anyMatch(name -> name.endsWith(".tmp")), names.toString());
            assertEquals(
                    1,
                    names.stream()
                            .filter(name -> name.startsWith(".generation-"))
                            .count(),
                    names.toString());
            assertTrue(names.contains(String.format("step-%08d", STEPS)), names.toString());
        }
    }

    private static CausalLM estimator() {
        return new CausalLM()
                .setNumLayers(2)
                .setNumHeads(2)
                .setWidth(64)
                .setSequenceLength(64)
                .setBatchSize(16)
                .setNumSteps(STEPS)
                .setEvaluationInterval(10)
                .setDropout(0.1)
                .setNumWorkers(2);
    }

    private static Dataset<Row> book() {
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < 400; x++) {
            rows.add("verse " + x + " of " + (x * 7919 % 401) + ": and it came to pass that the number was " + x * x);
        }
        return spark.createDataset(rows, org.apache.spark.sql.Encoders.STRING()).toDF("text");
    }
}
