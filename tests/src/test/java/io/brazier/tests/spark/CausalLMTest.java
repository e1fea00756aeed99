package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.spark.ml.CausalLMSummary;
import io.brazier.spark.ml.PerplexityEvaluator;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.Collectors;
import org.apache.spark.ml.Pipeline;
import org.apache.spark.ml.PipelineModel;
import org.apache.spark.ml.PipelineStage;
import org.apache.spark.ml.feature.SQLTransformer;
import org.apache.spark.ml.param.ParamMap;
import org.apache.spark.ml.tuning.CrossValidator;
import org.apache.spark.ml.tuning.CrossValidatorModel;
import org.apache.spark.ml.tuning.ParamGridBuilder;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.types.DataTypes;
import org.apache.spark.sql.types.StructType;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** MLlib's conventions, and bad tables and params, in one local Spark. */
class CausalLMTest {
    private static SparkSession spark;
    private static CausalLMModel trained;

    @TempDir
    Path directory;

    @BeforeAll
    static void start() {
        spark = SparkSession.builder()
                .master("local[2]")
                .config("spark.ui.enabled", "false")
                .config("spark.plugins", "io.brazier.spark.plugin.BrazierPlugin")
                .config("spark.driver.host", "127.0.0.1")
                .getOrCreate();
        trained = tiny().fit(rows(60));
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    static CausalLM tiny() {
        return new CausalLM()
                .setNumLayers(1)
                .setNumHeads(2)
                .setWidth(16)
                .setSequenceLength(16)
                .setBatchSize(4)
                .setNumSteps(6)
                .setEvaluationInterval(3)
                .setNumWorkers(2);
    }

    private static Dataset<Row> rows(int number) {
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < number; x++) {
            rows.add("row " + x + ": the quick brown fox jumps over the lazy dog");
        }
        return text(rows);
    }

    private static Dataset<Row> text(List<String> rows) {
        StructType schema = new StructType().add("text", DataTypes.StringType);
        return spark.createDataFrame(rows.stream().map(RowFactory::create).collect(Collectors.toList()), schema);
    }

    @Test
    void everyParamHasADocAndADefaultAndGoesIntoCopies() {
        CausalLM estimator = tiny();
        Arrays.stream(estimator.params()).forEach(param -> {
            assertFalse(param.doc().isEmpty(), param.name());
            assertTrue(estimator.hasDefault(param), param.name());
        });
        assertTrue(estimator.explainParams().contains("numLayers"));
        CausalLM copy = estimator.copy(new ParamMap().put(estimator.numSteps(), 9L));
        assertEquals(9, copy.getNumSteps());
        assertEquals(6, estimator.getNumSteps());
        assertEquals(estimator.uid(), copy.uid());
    }

    @Test
    void valuesOutOfRangeAreRefusedWhenSet() {
        assertThrows(IllegalArgumentException.class, () -> tiny().setNumLayers(0));
        assertThrows(IllegalArgumentException.class, () -> tiny().setLearningRate(0));
        assertThrows(IllegalArgumentException.class, () -> tiny().setLearningRate(Double.NaN));
        assertThrows(IllegalArgumentException.class, () -> tiny().setNumSteps(0));
        assertThrows(IllegalArgumentException.class, () -> tiny().setHandleInvalid("ignore"));
    }

    @Test
    void theSummaryTellsWhatHappened() {
        CausalLMSummary summary = trained.summary();
        assertEquals(6, summary.numSteps());
        assertEquals(6, summary.lossHistory().length);
        assertEquals(2, summary.evaluations().size());
        assertEquals(0, summary.numRestarts());
        assertTrue(summary.tokensPerSecond() > 0);
        assertTrue(summary.modelFlopsUtilization() > 0 && summary.modelFlopsUtilization() < 1);
        assertEquals(Math.exp(summary.validationLoss()), summary.validationPerplexity());
        assertEquals("causalLM", trained.parent().uid().split("_")[0]);
    }

    @Test
    void theSameSeedGivesTheSameLossesHoweverTheTableIsCut() {
        double[] expected = trained.summary().lossHistory();
        CausalLMModel again = tiny().fit(rows(60).coalesce(1));
        assertArrayEquals(expected, again.summary().lossHistory());
        CausalLMModel other = tiny().setSeed(5).fit(rows(60));
        assertFalse(Arrays.equals(expected, other.summary().lossHistory()));
    }

    @Test
    void aLlamaLearnsAndComesBackFromItsFiles(@TempDir Path directory) throws Exception {
        CausalLMModel model = tiny().setModelType("llama")
                .setNumKeyValueHeads(1)
                .setNumSteps(12)
                .fit(rows(60));
        double[] losses = model.summary().lossHistory();
        assertTrue(losses[11] < losses[0] - 0.05, Arrays.toString(losses));
        String saved = directory.resolve("llama").toString();
        model.write().overwrite().save(saved);
        Dataset<Row> text = rows(3);
        assertEquals(
                doubles(model.copy(ParamMap.empty()).setTask("score").transform(text), "logLikelihood"),
                doubles(CausalLMModel.load(saved).setTask("score").transform(text), "logLikelihood"));
        assertTrue(refused(() -> tiny().setNumExperts(4).fit(rows(9))).contains("modelType llama"));
    }

    @Test
    void generatedTextDependsOnTheSeedAlone() {
        CausalLMModel model = trained.copy(ParamMap.empty()).setMaxNewTokens(12);
        List<String> first = strings(model.transform(rows(5)), "generated");
        assertEquals(first, strings(model.transform(rows(5)), "generated"));
        assertEquals(5, first.size());
        first.forEach(text -> assertFalse(text.isEmpty()));
        assertFalse(first.equals(strings(model.copy(ParamMap.empty()).setSeed(3).transform(rows(5)), "generated")));
    }

    @Test
    void scoresAreLogLikelihoodAndPerplexity() {
        String text = "the quick brown fox jumps over the lazy dog";
        CausalLMModel scorer = trained.copy(ParamMap.empty()).setTask("score").setInferenceBatchSize(2);
        List<Row> rows = scorer.transform(text(Arrays.asList(text, null, "", "x", text + text)))
                .collectAsList();
        double logLikelihood = rows.get(0).getDouble(1);
        assertTrue(logLikelihood < 0);
        assertEquals(Math.exp(-logLikelihood / (text.length() - 1)), rows.get(0).getDouble(2), 1e-9);
        for (int x = 1; x < 4; x++) {
            assertTrue(rows.get(x).isNullAt(1) && rows.get(x).isNullAt(2), "row " + x);
        }
        assertTrue(rows.get(4).getDouble(1) < logLikelihood);
    }

    @Test
    void ranksOfOneJvmShareAModelThatFitJustMade() {
        CausalLMModel model = trained.copy(ParamMap.empty()).setMaxNewTokens(12);
        List<String> whole = strings(model.transform(rows(5)), "generated");
        assertEquals(whole, strings(model.setTensorParallel(2).transform(rows(5)), "generated"));
    }

    @Test
    void nullAndEmptyPromptsGiveNull() {
        List<Row> rows = trained.transform(text(Arrays.asList(null, "", "the"))).collectAsList();
        assertNull(rows.get(0).getString(1));
        assertNull(rows.get(1).getString(1));
        assertNotNull(rows.get(2).getString(1));
    }

    @Test
    void pipelinesAreSavedAndLoadedWithTheSameWeights() throws Exception {
        SQLTransformer lower = new SQLTransformer().setStatement("SELECT lower(text) AS text FROM __THIS__");
        Pipeline pipeline = new Pipeline().setStages(new PipelineStage[] {lower, tiny().setTask("score")});
        pipeline.write().overwrite().save(directory + "/pipeline");
        CausalLM loaded = (CausalLM) Pipeline.load(directory + "/pipeline").getStages()[1];
        assertEquals("score", loaded.getTask());
        PipelineModel fitted = pipeline.fit(rows(60));
        fitted.write().overwrite().save(directory + "/fitted");
        PipelineModel back = PipelineModel.load(directory + "/fitted");
        assertEquals(
                doubles(fitted.transform(rows(7)), "logLikelihood"), doubles(back.transform(rows(7)), "logLikelihood"));
        CausalLMModel stage = (CausalLMModel) back.stages()[1];
        assertFalse(stage.hasSummary());
        assertThrows(IllegalStateException.class, stage::summary);
    }

    @Test
    void crossValidatorChoosesTheBetterLearningRate() {
        CausalLM estimator = tiny().setTask("score").setNumSteps(30);
        ParamMap[] grid = new ParamGridBuilder()
                .addGrid(estimator.learningRate(), new double[] {1e-2, 1e-6})
                .build();
        CrossValidatorModel best = new CrossValidator()
                .setEstimator(estimator)
                .setEvaluator(new PerplexityEvaluator())
                .setEstimatorParamMaps(grid)
                .setNumFolds(2)
                .setParallelism(2)
                .fit(rows(60));
        assertTrue(best.avgMetrics()[0] < best.avgMetrics()[1], Arrays.toString(best.avgMetrics()));
    }

    @Test
    void aModelIsTheStartOfAnother() {
        CausalLMModel tuned = new CausalLM()
                .setInitialModel(trained.directory())
                .setSequenceLength(16)
                .setBatchSize(4)
                .setNumSteps(1)
                .setWarmupSteps(1)
                .setNumWorkers(2)
                .fit(rows(60));
        double first = tuned.summary().lossHistory()[0];
        double[] before = trained.summary().lossHistory();
        assertTrue(first < before[0], first + " after " + Arrays.toString(before));
        assertTrue(refused(() -> tiny().setInitialModel(trained.directory()).fit(rows(60)))
                .contains("numLayers is that of initialModel"));
    }

    @Test
    void nullRowsAreNamedAndCountedOrSkipped() {
        Dataset<Row> table = text(Arrays.asList("a text that is long enough for a sample of it", null, "b", null));
        String message = refused(() -> tiny().fit(table));
        assertTrue(message.contains("column text is null in 2 of 4 rows"), message);
        assertTrue(message.contains("handleInvalid"), message);
        assertEquals(6, tiny().setHandleInvalid("skip").fit(table).summary().numSteps());
    }

    @Test
    void emptyTablesAndTooLittleTextAreRefused() {
        assertTrue(refused(() -> tiny().fit(rows(0))).contains("no text in 0 rows"));
        assertTrue(refused(() -> tiny().fit(text(List.of("", "")))).contains("no text in 2 rows"));
        String message = assertThrows(
                        io.brazier.train.TrainingException.class, () -> tiny().fit(text(List.of("short"))))
                .getMessage();
        assertTrue(message.contains("sequenceLength"), message);
    }

    @Test
    void oneRowFeedsTwoRanks() {
        CausalLMModel model = tiny().fit(text(List.of("one row of text that is the whole corpus of both ranks")));
        assertEquals(6, model.summary().numSteps());
    }

    @Test
    void everyViolationIsNamedInOneMessage() {
        String message = refused(() -> tiny().setBatchSize(3)
                .setWidth(15)
                .setMaxPositions(8)
                .setMinLearningRate(1)
                .setPrecision("fp8")
                .setDevice("cpu")
                .fit(rows(60)));
        String precision = "precision fp8 needs device cuda of compute capability 8.9 or more, not device cpu";
        for (String part : List.of("batchSize 3", "width 15", "maxPositions 8", "minLearningRate 1.0", precision)) {
            assertTrue(message.contains(part), message);
        }
    }

    @Test
    void columnsThatDoNotFitAreRefused() {
        assertTrue(refused(() -> tiny().setTextCol("body").fit(rows(3))).contains("[text]"));
        assertTrue(refused(() -> tiny().setOutputCol("text").fit(rows(3))).contains("exists already"));
        Dataset<Row> numbers = spark.range(3).toDF("text");
        assertTrue(refused(() -> tiny().fit(numbers)).contains("must be string"));
        assertTrue(refused(() -> tiny().setTask("score")
                        .setPerplexityCol("logLikelihood")
                        .fit(rows(3)))
                .contains("exists already"));
    }

    private static String refused(Runnable call) {
        return assertThrows(IllegalArgumentException.class, call::run).getMessage();
    }

    private static List<String> strings(Dataset<Row> table, String column) {
        return table.select(column).as(Encoders.STRING()).collectAsList();
    }

    private static List<Double> doubles(Dataset<Row> table, String column) {
        return table.select(column).as(Encoders.DOUBLE()).collectAsList();
    }
}
