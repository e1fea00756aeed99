package io.brazier.tests.spark;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.spark.barrier.BarrierJob;
import io.brazier.spark.barrier.RankWork;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingListener;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The retry loop, the slot check and the channel to the driver, with work that computes nothing. */
class BarrierJobTest {
    @TempDir
    Path inbox;

    private final AtomicLong generation = new AtomicLong();
    private final List<Long> steps = new CopyOnWriteArrayList<>();

    private final TrainingListener listener = new TrainingListener() {
        @Override
        public void onStep(StepReport report) {
            steps.add(report.step());
        }
    };

    @Test
    void progressFilesAndPeaksReachTheDriver() throws Exception {
        byte[] content = new byte[9 << 20];
        new java.util.Random(7).nextBytes(content);
        try (JavaSparkContext context = local(Map.of())) {
            BarrierJob.Outcome outcome = run(context, 2, 0, (rank, partition) -> {
                rank.reportDevice("an abacus", 100 + rank.partition());
                if (rank.partition() == 0) {
                    rank.progress().onStep(step(1));
                    Path file = rank.localDirectory().resolve("model.safetensors");
                    Files.write(file, content);
                    rank.sendFile(file);
                }
            });
            assertEquals(new BarrierJob.Outcome(0, "an abacus", 201), outcome);
        }
        assertArrayEquals(content, Files.readAllBytes(inbox.resolve("model.safetensors")));
        assertEquals(List.of(1L), steps);
    }

    @Test
    void aFailedAttemptIsRepeatedWithALaterGeneration() {
        try (JavaSparkContext context = local(Map.of())) {
            BarrierJob.Outcome outcome = run(context, 2, 3, (rank, partition) -> {
                if (rank.generation() < 3 && rank.partition() == 1) {
                    rank.progress().onStep(step(rank.generation()));
                    throw new IllegalStateException("no power");
                }
            });
            assertEquals(2, outcome.restarts());
            assertEquals(3, generation.get());
        }
    }

    @Test
    void theSameStepFailingThreeTimesStopsTheJob() {
        TrainingException failure = failureOf(100, (rank, partition) -> {
            rank.progress().onStep(step(17));
            throw new IllegalStateException("no power");
        });
        assertEquals(TrainingException.Category.DEVICE, failure.category());
        assertTrue(failure.getMessage().contains("no progress: failed 3 times after step 17"), failure.getMessage());
        assertTrue(failure.getMessage().contains("no power"), failure.getMessage());
        assertEquals(3, generation.get());
    }

    @Test
    void moreFailuresThanAllowedStopTheJobAndNameTheSetting() {
        TrainingException failure = failureOf(1, (rank, partition) -> {
            throw new IllegalStateException("no power");
        });
        assertTrue(failure.getMessage().contains("failed 2 times, maxFailures is 1"), failure.getMessage());
        assertTrue(failure.getMessage().contains("executor driver"), failure.getMessage());
    }

    @Test
    void aWrongSettingIsNotTriedAgain() {
        TrainingException failure = failureOf(3, (rank, partition) -> {
            throw new IllegalArgumentException("width 3 is no multiple of numHeads 2");
        });
        assertEquals(TrainingException.Category.CONFIG, failure.category());
        assertTrue(failure.getMessage().contains("width 3 is no multiple"), failure.getMessage());
        assertEquals(1, generation.get());
    }

    @Test
    void aCancelledJobIsNotTriedAgain() throws Exception {
        CountDownLatch running = new CountDownLatch(1);
        TrainingListener onFirstStep = new TrainingListener() {
            @Override
            public void onStep(StepReport report) {
                running.countDown();
            }
        };
        try (JavaSparkContext context = local(Map.of())) {
            Thread canceller = new Thread(() -> {
                try {
                    running.await();
                    context.cancelAllJobs();
                } catch (InterruptedException e) {
                    Thread.currentThread().interrupt();
                }
            });
            canceller.start();
            BarrierJob job = new BarrierJob(context.sc(), 2, 3);
            assertThrows(
                    CancellationException.class,
                    () -> job.run(
                            numbers(context, 2),
                            attempt -> (rank, partition) -> {
                                rank.progress().onStep(step(1));
                                org.apache.spark.BarrierTaskContext.get().barrier();
                                Thread.sleep(1_000);
                                org.apache.spark.BarrierTaskContext.get().barrier();
                            },
                            generation::incrementAndGet,
                            onFirstStep,
                            inbox));
            canceller.join();
        }
        assertEquals(1, generation.get());
    }

    @Test
    void tooFewSlotsAreRefusedWithTheNumbers() {
        try (JavaSparkContext context = local(Map.of())) {
            BarrierJob job = new BarrierJob(context.sc(), 3, 0);
            String message =
                    assertThrows(IllegalArgumentException.class, job::validate).getMessage();
            assertTrue(message.contains("numWorkers 3 needs 3"), message);
            assertTrue(message.contains("has 2 slots"), message);
            assertTrue(message.contains("spark.task.cpus"), message);
        }
    }

    @Test
    void settingsThatCannotWorkAreNamedAtOnce() {
        try (JavaSparkContext context =
                local(Map.of("spark.dynamicAllocation.enabled", "true", "spark.authenticate", "true"))) {
            BarrierJob job = new BarrierJob(context.sc(), 2, 0);
            String message =
                    assertThrows(IllegalArgumentException.class, job::validate).getMessage();
            assertTrue(message.contains("spark.dynamicAllocation.enabled"), message);
            assertTrue(message.contains("spark.brazier.allowPlaintext"), message);
        }
    }

    @Test
    void plaintextIsAllowedByItsSetting() {
        try (JavaSparkContext context =
                local(Map.of("spark.authenticate", "true", "spark.brazier.allowPlaintext", "true"))) {
            new BarrierJob(context.sc(), 2, 0).validate();
        }
    }

    @Test
    void nothingStaysInTheLocalDirectories(@TempDir Path localDir) throws Exception {
        try (JavaSparkContext context = local(Map.of("spark.local.dir", localDir.toString()))) {
            run(
                    context,
                    2,
                    0,
                    (rank, partition) -> Files.writeString(rank.localDirectory().resolve("x"), "y"));
            try (var files = Files.walk(localDir)) {
                assertFalse(files.anyMatch(file -> file.getFileName().toString().startsWith("brazier")));
            }
        }
    }

    private TrainingException failureOf(int maxFailures, RankWork<Integer> work) {
        try (JavaSparkContext context = local(Map.of())) {
            return assertThrows(TrainingException.class, () -> run(context, 2, maxFailures, work));
        }
    }

    private BarrierJob.Outcome run(JavaSparkContext context, int numWorkers, int maxFailures, RankWork<Integer> work) {
        return new BarrierJob(context.sc(), numWorkers, maxFailures)
                .run(numbers(context, numWorkers), attempt -> work, generation::incrementAndGet, listener, inbox);
    }

    private static JavaRDD<Integer> numbers(JavaSparkContext context, int numParts) {
        return context.parallelize(List.of(1, 2, 3, 4), numParts);
    }

    private static StepReport step(long step) {
        return new StepReport(step, 100, 1.0, 1.0, 1e-3, 10, 0.1, 1e6, 1);
    }

    private static JavaSparkContext local(Map<String, String> settings) {
        SparkConf conf = new SparkConf()
                .setMaster("local[2]")
                .setAppName("barrier")
                .set("spark.ui.enabled", "false")
                .set("spark.driver.host", "127.0.0.1");
        settings.forEach(conf::set);
        return new JavaSparkContext(conf);
    }
}
