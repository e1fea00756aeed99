package io.brazier.tests.chaos;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.ml.CausalLM;
import io.brazier.spark.ml.CausalLMModel;
import io.brazier.tests.spark.Weights;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingListener;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Encoders;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Checkpoints on a full disk and damaged ones: training goes on, falls back to the one before, or refuses; the weights are the same. */
class DamagedCheckpointsTest {
    private static final long STEPS = 12;

    private static SparkSession spark;
    private static byte[] undisturbed;

    @TempDir
    Path directory;

    private final List<String> warnings = new CopyOnWriteArrayList<>();
    private final List<Long> steps = new CopyOnWriteArrayList<>();
    private final List<Long> saved = new CopyOnWriteArrayList<>();

    private final TrainingListener listener = new TrainingListener() {
        @Override
        public void onStep(StepReport report) {
            steps.add(report.step());
        }

        @Override
        public void onCheckpoint(long step, String path) {
            saved.add(step);
        }

        @Override
        public void onWarning(String message) {
            warnings.add(message);
        }
    };

    @BeforeAll
    static void start() throws Exception {
        spark = SparkSession.builder()
                .master("local[2]")
                .config("spark.ui.enabled", "false")
                .config("spark.driver.host", "127.0.0.1")
                .config("spark.hadoop.fs." + FullDiskFileSystem.SCHEME + ".impl", FullDiskFileSystem.class.getName())
                .config("spark.hadoop.fs." + FullDiskFileSystem.SCHEME + ".impl.disable.cache", "true")
                .getOrCreate();
        undisturbed = Weights.of(estimator().fit(book()));
    }

    @AfterAll
    static void stop() {
        spark.stop();
    }

    @ParameterizedTest
    @ValueSource(strings = {"rank-00000", "rank-00001", "manifest.json"})
    void aFullDiskIsAWarningAndTrainingGoesOn(String file) throws Exception {
        org.apache.hadoop.conf.Configuration hadoop = spark.sparkContext().hadoopConfiguration();
        hadoop.set(FullDiskFileSystem.VICTIM, "step-00000008.g1.tmp/" + file);
        hadoop.setLong(FullDiskFileSystem.ROOM, 100);
        CausalLMModel model = estimator()
                .setCheckpointDir(FullDiskFileSystem.SCHEME + "://" + directory)
                .setCheckpointInterval(4)
                .setListener(listener)
                .fit(book());
        assertArrayEquals(undisturbed, Weights.of(model));
        assertEquals(0, model.summary().numRestarts());
        assertEquals(List.of(4L, STEPS), saved);
        assertEquals(1, warnings.size(), warnings.toString());
        assertTrue(warnings.get(0).contains("No space left on device"), warnings.toString());
        assertEquals(List.of("step-00000004", "step-00000012"), visibleIn(directory));
    }

    @ParameterizedTest
    @ValueSource(longs = {0, 7, 8, 100, -1})
    void aTruncatedShardMakesTheRunFallBackToTheCheckpointBefore(long length) throws Exception {
        run("auto");
        shorten(directory.resolve("step-00000012/rank-00001-of-00002.safetensors"), length);
        steps.clear();
        assertArrayEquals(undisturbed, Weights.of(run("auto")));
        assertEquals(List.of(9L, 10L, 11L, 12L), steps);
        assertTrue(warnings.stream().anyMatch(text -> text.contains("step-00000012 is damaged")), warnings.toString());
    }

    @Test
    void aFinishedRunIsTakenUpWithoutAStep() throws Exception {
        run("auto");
        steps.clear();
        assertArrayEquals(undisturbed, Weights.of(run("auto")));
        assertEquals(List.of(), steps);
    }

    @Test
    void aDamagedCheckpointThatWasNamedIsRefused(@TempDir Path other) throws Exception {
        run("auto");
        Path checkpoint = directory.resolve("step-00000012");
        shorten(checkpoint.resolve("rank-00000-of-00002.safetensors"), -1);
        CausalLM resuming = estimator().setResume(checkpoint.toString());
        String message = assertThrows(IllegalArgumentException.class, () -> resuming.fit(book()))
                .getMessage();
        assertTrue(message.contains("set checkpointDir"), message);
        TrainingException failure =
                assertThrows(TrainingException.class, () -> resuming.setCheckpointDir(other.toString())
                        .fit(book()));
        assertEquals(TrainingException.Category.CHECKPOINT, failure.category());
    }

    @Test
    void checkpointsOfAnotherRunAreNotMixedUp() throws Exception {
        run("auto");
        String message =
                assertThrows(IllegalArgumentException.class, () -> run("never")).getMessage();
        assertTrue(message.contains("step-00000012") && message.contains("resume"), message);
        TrainingException failure = assertThrows(TrainingException.class, () -> estimator()
                .setSeed(2)
                .setCheckpointDir(directory.toString())
                .fit(book()));
        assertEquals(TrainingException.Category.CHECKPOINT, failure.category());
        assertTrue(failure.getMessage().contains("set resume to never"), failure.getMessage());
    }

    private CausalLMModel run(String resume) {
        return estimator()
                .setCheckpointDir(directory.toString())
                .setCheckpointInterval(4)
                .setResume(resume)
                .setListener(listener)
                .fit(book());
    }

    private static void shorten(Path file, long length) throws Exception {
        try (RandomAccessFile data = new RandomAccessFile(file.toFile(), "rw")) {
            data.setLength(length < 0 ? data.length() + length : length);
        }
    }

    private static List<String> visibleIn(Path directory) throws Exception {
        try (Stream<Path> files = Files.list(directory)) {
            return files.map(file -> file.getFileName().toString())
                    .filter(name -> !name.startsWith(".generation"))
                    .sorted()
                    .collect(Collectors.toList());
        }
    }

    private static CausalLM estimator() {
        return new CausalLM()
                .setNumLayers(1)
                .setNumHeads(2)
                .setWidth(32)
                .setSequenceLength(16)
                .setBatchSize(4)
                .setNumSteps(STEPS)
                .setNumWorkers(2);
    }

    private static Dataset<Row> book() {
        List<String> rows = new ArrayList<>();
        for (int x = 0; x < 60; x++) {
            rows.add("verse " + x + ": and it came to pass that the number was " + x * x);
        }
        return spark.createDataset(rows, Encoders.STRING()).toDF("text");
    }
}
