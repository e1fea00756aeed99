package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** A model that executor JVMs share adds to a table what one that each of them holds whole adds. */
class ShardedTransformTest {
    private static final int NUM_EXECUTORS = 4;

    private static SparkCluster cluster;
    private static SparkSession spark;
    private static Dataset<Row> table;
    private static CausalLMModel fresh;

    @BeforeAll
    static void start() throws Exception {
        cluster = SparkCluster.start(NUM_EXECUTORS);
        spark = SparkSession.builder()
                .master(cluster.masterUrl())
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.executor.memory", "512m")
                .config("spark.scheduler.barrier.maxConcurrentTasksCheck.interval", "1s")
                .getOrCreate();
        table = makeTable();
        fresh = save("gpt2", settings());
        save("llama", settings().setModelType("llama").setNumKeyValueHeads(2).setTokenizer("characters"));
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
                .setNumLayers(3)
                .setNumHeads(4)
                .setWidth(32)
                .setSequenceLength(48)
                .setBatchSize(8)
                .setNumSteps(4)
                .setLearningRate(1e-2)
                .setWarmupSteps(1)
                .setTensorParallel(2)
                .setHandleInvalid("skip")
                .setNumWorkers(2);
    }

    private static CausalLMModel save(String name, CausalLM settings) throws Exception {
        CausalLMModel model = settings.fit(table);
        model.write().save(path(name));
        return model;
    }

    private static String path(String name) throws Exception {
        return cluster.directory("models").resolve(name).toString();
    }

    /** As many executors as there are must score it, in three partitions of unequal size. */
    private static Dataset<Row> makeTable() {
        List<Row> rows = new ArrayList<>();
        for (long x = 0; x < 40; x++) {
            rows.add(RowFactory.create(x, "row " + x * x + ": the quick brown fox jumps over the lazy dog"));
        }
        rows.set(5, RowFactory.create(5L, null));
        rows.set(6, RowFactory.create(6L, ""));
        rows.set(7, RowFactory.create(7L, "x"));
        rows.set(20, RowFactory.create(20L, "a text of several windows ".repeat(12)));
        StructType schema = new StructType().add("id", "long").add("text", "string");
        return spark.createDataFrame(rows, schema)
                .repartition(3)
                .sortWithinPartitions("id")
                .persist();
    }

    private static CausalLMModel load(String name) throws Exception {
        return CausalLMModel.load(path(name)).setInferenceBatchSize(3).setMaxNewTokens(12);
    }

    @ParameterizedTest
    @CsvSource({"gpt2, 2, 1", "gpt2, 1, 2", "gpt2, 2, 2", "llama, 2, 1", "llama, 1, 2", "llama, 2, 2"})
    void addsWhatAWholeModelAdds(String name, int tp, int pp) throws Exception {
        CausalLMModel whole = load(name);
        CausalLMModel shared = load(name).setTensorParallel(tp).setPipelineParallel(pp);
        for (double temperature : new double[] {0, 0.8}) {
            Dataset<Row> expected = whole.setTemperature(temperature).transform(table);
            Dataset<Row> actual = shared.setTemperature(temperature).transform(table);
            assertEquals(expected.schema(), actual.schema());
            assertEquals(expected.collectAsList(), actual.collectAsList());
        }
        List<Row> expected = whole.setTask("score").transform(table).collectAsList();
        List<Row> actual = shared.setTask("score").transform(table).collectAsList();
        assertEquals(expected.size(), actual.size());
        for (int x = 0; x < expected.size(); x++) {
            assertEquals(expected.get(x).get(0), actual.get(x).get(0));
            for (String column : List.of("logLikelihood", "perplexity")) {
                Double value = expected.get(x).getAs(column);
                Double found = actual.get(x).getAs(column);
                assertEquals(value == null, found == null, expected.get(x) + " is " + actual.get(x));
                if (value != null) {
                    assertEquals(value, found, 1e-5 * Math.abs(value), column + " of row " + x);
                }
            }
        }
    }

    @Test
    void someRowsMayBeTakenAndNoneBeThere() throws Exception {
        CausalLMModel shared = load("gpt2").setTemperature(0).setPipelineParallel(2);
        Dataset<Row> made = shared.transform(table);
        assertEquals(load("gpt2").setTemperature(0).transform(table).takeAsList(2), made.takeAsList(2));
        assertEquals(40, made.filter("generated IS NOT NULL OR id IN (5, 6)").count());
        Dataset<Row> none = shared.transform(table.filter("id < 0"));
        assertEquals(0, none.count());
        assertEquals(made.schema(), none.schema());
        Dataset<Row> noPartition = spark.createDataFrame(List.of(), table.schema());
        assertEquals(0, shared.transform(noPartition).count());
    }

    @Test
    void whatLostExecutorsHeldIsMadeAgain() throws Exception {
        Dataset<Row> made = load("llama").setTensorParallel(2).transform(table);
        List<Row> before = made.collectAsList();
        cluster.executors().forEach(cluster::kill);
        assertEquals(before, made.collectAsList());
    }

    @Test
    void twoStagesOfOneQueryTakeTurns() throws Exception {
        Dataset<Row> both = load("gpt2")
                .setTensorParallel(2)
                .transform(table)
                .union(load("llama").setPipelineParallel(2).transform(table));
        assertEquals(2 * table.count(), both.count());
    }

    @Test
    void aShorterContextHoldsForBoth() throws Exception {
        CausalLMModel model = load("gpt2").setTask("score").setContextLength(16);
        List<Row> expected = model.transform(table).collectAsList();
        List<Row> actual = model.setTensorParallel(2).transform(table).collectAsList();
        List<Row> longer = model.setContextLength(0).transform(table).collectAsList();
        double shared = 0;
        double other = 0;
        for (int x = 0; x < expected.size(); x++) {
            if (!expected.get(x).isNullAt(2)) {
                double value = expected.get(x).getDouble(2);
                assertEquals(value, actual.get(x).getDouble(2), 1e-5 * Math.abs(value), "row " + x);
                shared += Math.abs(value - actual.get(x).getDouble(2));
                other += Math.abs(value - longer.get(x).getDouble(2));
            }
        }
        assertTrue(other > 10 * shared, other + " and " + shared);
        String refused = refused(model.setContextLength(49));
        assertTrue(refused.contains("contextLength 49 must lie in [2, 48]"), refused);
    }

    @Test
    void layoutsOfTrainingDoNotStick() {
        assertEquals(2, ((CausalLM) fresh.parent()).getTensorParallel());
        assertEquals(1, fresh.getTensorParallel());
        assertEquals(40, fresh.transform(table).count());
    }

    @Test
    void whatCannotRunIsRefusedAtTheCall() throws Exception {
        CausalLMModel model = load("gpt2");
        String shapes = refused(model.setTensorParallel(3).setPipelineParallel(9));
        for (String part : List.of(
                "tensorParallel 3 * pipelineParallel 9",
                "numHeads 4 is no multiple of tp 3",
                "hiddenWidth 128 is no multiple of tp 3",
                "pp 9 * chunksPerStage 1 = 9 stages, but the model has 5 pieces")) {
            assertTrue(shapes.contains(part), shapes);
        }
        String slots = refused(model.setTensorParallel(2).setPipelineParallel(4));
        assertTrue(slots.contains("tensorParallel 2 * pipelineParallel 4 needs 8 barrier tasks at once"), slots);
        assertTrue(slots.contains("has 4 slots"), slots);
        assertTrue(slots.contains("set tensorParallel * pipelineParallel to at most 4"), slots);
        CausalLMModel unsaved = fresh.copy(org.apache.spark.ml.param.ParamMap.empty());
        String files = refused(unsaved.setTensorParallel(2));
        assertTrue(files.contains("save it to a directory that every executor can read"), files);
        String missing = refused(CausalLMModel.fromHuggingFace(path("none")).setTensorParallel(2));
        assertTrue(missing.contains(path("none")), missing);
    }

    private static String refused(CausalLMModel model) {
        return assertThrows(IllegalArgumentException.class, () -> model.transform(table))
                .getMessage();
    }

    @Test
    void aRanksFailureSaysWhatItWas() throws Exception {
        CausalLMModel model = load("gpt2").setTensorParallel(2);
        String stop = failure(model.setStop(new String[] {"two tokens"}).transform(table));
        assertTrue(stop.contains("stop text \"two tokens\" is 10 tokens"), stop);
        String one = failure(load("llama")
                .setPipelineParallel(2)
                .transform(table.selectExpr("id", "if(id = 33, '\u20ac', text) AS text")));
        assertTrue(one.contains("character U+20AC '\u20ac' is not among the"), one);
        Path copy = cluster.directory("models").resolve("copy");
        model.exportTo(copy.toString(), spark.sparkContext().hadoopConfiguration());
        Dataset<Row> made = CausalLMModel.fromHuggingFace(copy.toString())
                .setTensorParallel(2)
                .transform(table);
        Files.delete(copy.resolve("model.safetensors"));
        String lost = failure(made);
        assertTrue(lost.contains("holds neither model.safetensors nor"), lost);
        assertTrue(lost.contains(copy.toString()), lost);
        assertFalse(load("gpt2").setTensorParallel(2).transform(table).isEmpty());
    }

    private static String failure(Dataset<Row> rows) {
        return assertThrows(Exception.class, rows::collectAsList).getMessage();
    }
}
