package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.Json;
import io.brazier.sim.Hardware;
import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.function.UnaryOperator;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

/** Layouts through {@code fit} on executor JVMs: the model is that of one worker. */
class LayoutsTest {
    private static final int NUM_EXECUTORS = 4;

    private static SparkCluster cluster;
    private static SparkSession spark;
    private static CausalLMModel one;
    private static List<Double> oneScores;

    @BeforeAll
    static void start() throws Exception {
        cluster = SparkCluster.start(NUM_EXECUTORS);
        spark = SparkSession.builder()
                .master(cluster.masterUrl())
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.executor.memory", "512m")
                .getOrCreate();
        one = settings().fit(text());
        oneScores = scores(one);
    }

    @AfterAll
    static void stop() {
        if (spark != null) {
            spark.stop();
        }
        cluster.close();
    }

    private static CausalLM settings() {
        return new CausalLM()
                .setNumLayers(4)
                .setNumHeads(4)
                .setWidth(32)
                .setSequenceLength(32)
                .setBatchSize(16)
                .setNumMicroBatches(4)
                .setNumSteps(6)
                .setLearningRate(5e-3)
                .setWarmupSteps(1)
                .setMaxFailures(0);
    }

    private static Dataset<Row> text() {
        List<String> rows = IntStream.range(0, 150)
                .mapToObj(x -> "row " + x + " of " + x * x + ": the quick brown fox jumps over the lazy dog")
                .toList();
        return spark.createDataset(rows, Encoders.STRING()).toDF("text");
    }

    /** Log-likelihoods of some texts. */
    private static List<Double> scores(CausalLMModel model) {
        return model.setTask("score")
                .transform(text().limit(3))
                .select("logLikelihood")
                .as(Encoders.DOUBLE())
                .collectAsList();
    }

    /** In f32 sums are cut up differently, and six steps amplify it. */
    private static Arguments layout(String name, UnaryOperator<CausalLM> set) {
        return Arguments.of(name, set, 1e-4);
    }

    /** Brain floats have eight bits of fraction; the oracle has f32's 24. */
    private static Arguments brainFloats(String name, UnaryOperator<CausalLM> set) {
        return Arguments.of(name, set, 5e-3);
    }

    private static Stream<Arguments> layouts() {
        return Stream.of(
                layout("tp2", lm -> lm.setNumWorkers(2).setTensorParallel(2)),
                layout(
                        "tp2 without sequence parallelism",
                        lm -> lm.setNumWorkers(2).setTensorParallel(2).setSequenceParallel(false)),
                layout("pp2", lm -> lm.setNumWorkers(2).setPipelineParallel(2)),
                layout(
                        "pp2 zb-h1",
                        lm -> lm.setNumWorkers(2).setPipelineParallel(2).setSchedule("zb-h1")),
                layout("pp2 interleaved", lm -> lm.setNumWorkers(2)
                        .setPipelineParallel(2)
                        .setSchedule("interleaved")
                        .setVirtualStages(2)),
                layout("cp2", lm -> lm.setNumWorkers(2).setContextParallel(2)),
                layout("dp2 zero1", lm -> lm.setNumWorkers(2).setZeroStage(1)),
                layout(
                        "dp2 zero3 recompute",
                        lm -> lm.setNumWorkers(2).setZeroStage(3).setRecompute("full")),
                brainFloats("dp2 bf16", lm -> lm.setNumWorkers(2).setPrecision("bf16")),
                layout("dp2 tp2", lm -> lm.setNumWorkers(4).setTensorParallel(2)),
                layout("tp2 pp2", lm -> lm.setNumWorkers(4).setTensorParallel(2).setPipelineParallel(2)),
                layout(
                        "dp2 pp2 zero2",
                        lm -> lm.setNumWorkers(4).setPipelineParallel(2).setZeroStage(2)));
    }

    @ParameterizedTest(name = "{0}")
    @MethodSource("layouts")
    void theModelIsThatOfOneWorker(String name, UnaryOperator<CausalLM> set, double tolerance) throws Exception {
        CausalLMModel model = set.apply(settings()).fit(text());
        double expected = one.summary().validationLoss();
        assertEquals(expected, model.summary().validationLoss(), tolerance * expected, name);
        String saved =
                cluster.directory("model").resolve(name.replace(' ', '-')).toString();
        model.write().save(saved);
        List<Double> scores = scores(CausalLMModel.load(saved));
        for (int x = 0; x < scores.size(); x++) {
            assertEquals(oneScores.get(x), scores.get(x), 10 * tolerance * Math.abs(oneScores.get(x)), name);
        }
    }

    @Test
    void whatDoesNotFitIsRefusedWithWhatDoes() {
        CausalLM large = settings().setNumWorkers(4).setWidth(512).setDeviceMemory("160m");
        String message = assertThrows(IllegalArgumentException.class, () -> large.fit(text()))
                .getMessage();
        assertTrue(message.contains("does not fit the deviceMemory of 167772160 bytes"), message);
        assertTrue(message.contains("these do: dp 4"), message);
        assertTrue(large.explain(text()).contains(message));
    }

    @Test
    void autoTakesWhatFits() {
        CausalLM large =
                settings().setNumWorkers(4).setWidth(512).setLayout("auto").setDeviceMemory("160m");
        assertTrue(large.explain(text()).contains("fits the deviceMemory"), large.explain(text()));
    }

    /** Replicas move most, and wait least: they win where moving costs nothing, and lose where it costs most. */
    @Test
    void autoTakesWhatIsFastestOnACluster() throws Exception {
        CausalLM auto = settings().setNumWorkers(2).setLayout("auto");
        auto.setCluster(clusterFile("slow", 1e5, 1e-3));
        String slow = auto.explain(text());
        assertTrue(slow.contains("layout auto: on slow the fastest found that fits"), slow);
        double expected = one.summary().validationLoss();
        assertEquals(expected, auto.fit(text()).summary().validationLoss(), 1e-4 * expected);
        auto.setCluster(clusterFile("fast", 1e15, 0));
        String fast = auto.explain(text());
        assertTrue(fast.contains("dp 2 * pp 1") && !slow.contains("dp 2 * pp 1"), slow + fast);
        assertEquals(expected, auto.fit(text()).summary().validationLoss(), 1e-4 * expected);
        auto.setCluster("b200");
        String message = assertThrows(IllegalArgumentException.class, () -> auto.fit(text()))
                .getMessage();
        assertTrue(message.contains("b200 is not built in"), message);
        auto.setCluster("missing.json");
        message = assertThrows(IllegalArgumentException.class, () -> auto.fit(text()))
                .getMessage();
        assertTrue(message.contains("missing.json"), message);
    }

    /** One slow processor with links of its own, and kernels that start at once. */
    private static String clusterFile(String name, double bytesPerSecond, double latencySeconds) throws IOException {
        try (InputStream in = Hardware.class.getResourceAsStream("h100.json")) {
            ObjectNode node = (ObjectNode) Json.parse("h100.json", in.readAllBytes());
            node.put("name", name).put("kernelSeconds", 1e-12).put("numProcessors", 1);
            ((ObjectNode) node.get("peakFlopsPerSecond")).put("f32", 1e9);
            ((ObjectNode) node.get("network")).put("callSeconds", 0);
            for (JsonNode tier : node.get("network").get("tiers")) {
                ((ObjectNode) tier).put("bytesPerSecond", bytesPerSecond).put("latencySeconds", latencySeconds);
            }
            Path file = cluster.directory("clusters").resolve(name + ".json");
            return Files.write(file, Json.bytes(node)).toString();
        }
    }

    @Test
    void everyViolationIsNamedInOneMessage() {
        CausalLM wrong = settings()
                .setNumWorkers(4)
                .setTensorParallel(3)
                .setVirtualStages(2)
                .setZeroStage(1)
                .setContextParallel(5)
                .setDeviceMemory("much");
        String message = assertThrows(IllegalArgumentException.class, () -> wrong.fit(text()))
                .getMessage();
        for (String part : List.of(
                "= ? * 15 ranks, but numWorkers is 4",
                "numHeads 4 is no multiple of tp 3",
                "sequenceLength 32 is no multiple of 2 * cp = 10",
                "1f1b has 1 chunk per stage, not 2",
                "deviceMemory much")) {
            assertTrue(message.contains(part), message);
        }
    }
}
