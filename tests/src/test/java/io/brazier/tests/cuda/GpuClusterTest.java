package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.tests.spark.SparkCluster;
import io.brazier.tests.spark.Weights;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.UnaryOperator;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.api.java.JavaSparkContext;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * A standalone cluster whose worker announces four simulated GPUs by its discovery script, and gives each executor one. Executors are
 * processes of their own, connected by the simulated NCCL.
 */
class GpuClusterTest {
    private static final int NUM_GPUS = 4;
    private static final long STEPS = 8;

    /** Counted in one executor: amid the run. */
    private static final int FAILING_LAUNCH = 40;

    /** Sums over ranks and tiles of products are cut up differently on the two devices: rounding of f32, over some steps. */
    private static final double TOLERANCE = 2e-4;

    private static SparkCluster cluster;
    private static SparkSession spark;

    @TempDir
    Path directory;

    /** A layout by name, with what it asks of an estimator. */
    private record Setting(String name, UnaryOperator<CausalLM> set) {
        @Override
        public String toString() {
            return name;
        }
    }

    @BeforeAll
    static void start(@TempDir Path jars) throws Exception {
        SparkCluster.Worker worker = new SparkCluster.Worker(
                NUM_GPUS,
                List.of(
                        "-Dspark.worker.resource.gpu.amount=" + NUM_GPUS,
                        "-Dspark.worker.resource.gpu.discoveryScript=" + System.getProperty("brazier.root")
                                + "/bin/gpu-discovery"),
                Map.of(
                        "LD_LIBRARY_PATH", System.getProperty("cudasim.libraries"),
                        "JDK_JAVA_OPTIONS", GpuProcess.cache(),
                        "BRAZIER_JAR", GpuProcess.runtimeJar(jars).toString(),
                        "CUDASIM_DEVICES", "" + NUM_GPUS));
        cluster = SparkCluster.start(1, worker);
        spark = SparkSession.builder()
                .master(cluster.masterUrl())
                .appName("GPU cluster")
                .config("spark.ui.enabled", "false")
                .config("spark.local.dir", cluster.directory("driver").toString())
                .config("spark.plugins", "io.brazier.spark.plugin.BrazierPlugin")
                .config("spark.executor.cores", "1")
                .config("spark.executor.memory", "640m")
                .config("spark.executor.resource.gpu.amount", "1")
                .config("spark.task.resource.gpu.amount", "1")
                .config("spark.executor.extraJavaOptions", executorOptions())
                .getOrCreate();
    }

    /** Log as Spark does by default; where the simulated libraries keep what they compiled and unpacked. */
    private static String executorOptions() {
        return "-Dlog4j2.configurationFile=org/apache/spark/log4j2-defaults.properties"
                + Stream.of("cudasim.libraries", "brazier.cuda.cache")
                        .map(name -> " -D" + name + "=" + System.getProperty(name))
                        .collect(Collectors.joining());
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

    static Stream<Setting> layouts() {
        return Stream.of(
                new Setting("dp 2", lm -> lm.setNumWorkers(2)),
                new Setting("tp 2", lm -> lm.setNumWorkers(2).setTensorParallel(2)),
                new Setting("pp 2", lm -> lm.setNumWorkers(2).setPipelineParallel(2)),
                new Setting(
                        "dp 2 zero 3 tp 2",
                        lm -> lm.setNumWorkers(4).setTensorParallel(2).setZeroStage(3)),
                new Setting(
                        "tp 2 pp 2",
                        lm -> lm.setNumWorkers(4).setTensorParallel(2).setPipelineParallel(2)));
    }

    @ParameterizedTest
    @MethodSource("layouts")
    void learnsWhatTheProcessorLearns(Setting layout) {
        CausalLMModel onCpu = layout.set().apply(estimator()).setDevice("cpu").fit(book());
        CausalLMModel onGpus = layout.set().apply(estimator()).fit(book());
        assertEquals("the CPU", onCpu.summary().device());
        assertTrue(
                onGpus.summary().device().contains("Simulated H100"),
                onGpus.summary().device());
        assertArrayEquals(onCpu.summary().lossHistory(), onGpus.summary().lossHistory(), TOLERANCE);
        assertEquals(onCpu.summary().validationLoss(), onGpus.summary().validationLoss(), TOLERANCE);
        assertEquals(0, onGpus.summary().numRestarts());
    }

    @Test
    void everyExecutorSaysWhichGpuSparkAssignedToIt() throws Exception {
        SparkCluster.await("four executors", 60, () -> cluster.executors().size() == NUM_GPUS);
        Pattern line = Pattern.compile(
                "GPU \\d \\(Simulated H100[^\\n]*, (GPU-[0-9a-f-]+)\\), compute capability 9.0, CUDA 13.1, at address (\\S+)");
        TreeSet<String> addresses = new TreeSet<>();
        SparkCluster.await("four addresses in the executors' logs", 60, () -> {
            Matcher found = line.matcher(cluster.logsOrReason());
            while (found.find()) {
                assertEquals(found.group(1), found.group(2));
                addresses.add(found.group(2));
            }
            return addresses.size() == NUM_GPUS;
        });
    }

    @Test
    void generatesAndScoresWhatTheProcessorDoes() throws Exception {
        Path saved = cluster.directory("model");
        estimator().setNumWorkers(2).fit(book()).write().overwrite().save(saved.toString());
        CausalLMModel model =
                CausalLMModel.load(saved.toString()).setTemperature(0).setMaxNewTokens(8);
        Dataset<Row> some = book().where("text like 'verse 1%'");
        List<Row> generated = model.setDevice("cpu").transform(some).collectAsList();
        assertEquals(generated, model.setDevice("cuda").transform(some).collectAsList());
        model.setTensorParallel(2).setPipelineParallel(2);
        assertEquals(generated, model.transform(some).collectAsList());
        model.setTask("score");
        List<Row> scored = model.transform(some).collectAsList();
        List<Row> expected = model.setDevice("cpu").transform(some).collectAsList();
        for (int x = 0; x < scored.size(); x++) {
            assertEquals(expected.get(x).getString(0), scored.get(x).getString(0));
            assertEquals(expected.get(x).getDouble(1), scored.get(x).getDouble(1), 1e-3);
        }
        assertTrue(cluster.logs().contains("Inference on GPU "));
    }

    @Test
    void aKilledRankCostsOneAttempt() throws Exception {
        byte[] undisturbed = Weights.of(checkpointed("undisturbed").fit(book()));
        AtomicBoolean killed = new AtomicBoolean();
        CausalLMModel model = checkpointed("killed")
                .setListener(new TrainingListener() {
                    @Override
                    public void onStep(StepReport report) {
                        if (report.step() == STEPS / 2 && killed.compareAndSet(false, true)) {
                            cluster.kill(cluster.executors().get(0));
                        }
                    }
                })
                .fit(book());
        assertTrue(killed.get());
        assertTrue(model.summary().numRestarts() >= 1);
        assertArrayEquals(undisturbed, Weights.of(model));
    }

    @Test
    void anExecutorThatLosesItsGpuEndsAndAnotherGoesOn() throws Exception {
        byte[] undisturbed = Weights.of(checkpointed("undisturbed").fit(book()));
        List<ProcessHandle> before = cluster.executors();
        JavaSparkContext context = JavaSparkContext.fromSparkContext(spark.sparkContext());
        int uncorrectableMemory = 214;
        context.parallelize(List.of(1), 1)
                .foreach(x -> Cudasim.failCall("cuGraphLaunch", FAILING_LAUNCH, uncorrectableMemory));
        CausalLMModel model = checkpointed("lost").fit(book());
        assertTrue(model.summary().numRestarts() >= 1);
        assertTrue(cluster.logs().contains("This executor has lost its GPU and ends"));
        assertEquals(
                NUM_GPUS - 1, before.stream().filter(ProcessHandle::isAlive).count());
        assertArrayEquals(undisturbed, Weights.of(model));
    }

    private CausalLM checkpointed(String name) {
        return estimator()
                .setNumWorkers(NUM_GPUS)
                .setTensorParallel(2)
                .setCheckpointDir(directory.resolve(name).toString())
                .setCheckpointInterval(2);
    }

    private static CausalLM estimator() {
        return new CausalLM()
                .setDevice("cuda")
                .setNumLayers(2)
                .setNumHeads(2)
                .setWidth(32)
                .setSequenceLength(16)
                .setBatchSize(4)
                .setNumMicroBatches(2)
                .setNumSteps(STEPS);
    }

    private static Dataset<Row> book() {
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < 60; x++) {
            rows.add("verse " + x + ": and it came to pass that the number was " + x * x);
        }
        return spark.createDataset(rows, Encoders.STRING()).toDF("text");
    }
}
