package io.brazier.tests.chaos;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.brazier.spark.barrier.BarrierJob;
import io.brazier.tests.spark.SparkCluster;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingListener;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkConf;
import org.apache.spark.api.java.JavaSparkContext;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** A barrier job outlives the loss of one of its executors, whether the process dies or falls silent. */
class LostExecutorTest {
    @TempDir
    Path inbox;

    @FunctionalInterface
    private interface Harm {
        void to(SparkCluster cluster, ProcessHandle executor) throws Exception;
    }

    @Test
    void aKilledExecutorCostsOneAttempt() throws Exception {
        survives(SparkCluster::kill);
    }

    @Test
    void aFrozenExecutorIsReplaced() throws Exception {
        survives(SparkCluster::freeze);
    }

    private void survives(Harm harm) throws Exception {
        try (SparkCluster cluster = SparkCluster.start(2)) {
            SparkConf conf = new SparkConf()
                    .setMaster(cluster.masterUrl())
                    .setAppName("lost executor")
                    .set("spark.ui.enabled", "false")
                    .set("spark.brazier.heartbeatTimeout", "4s");
            AtomicLong generation = new AtomicLong();
            CountDownLatch running = new CountDownLatch(2);
            TrainingListener listener = new TrainingListener() {
                @Override
                public void onStep(StepReport report) {
                    running.countDown();
                }
            };
            try (JavaSparkContext context = new JavaSparkContext(conf)) {
                BarrierJob job = new BarrierJob(context.sc(), 2, 3);
                job.validate();
                ProcessHandle victim = cluster.executors().get(1);
                Thread villain = new Thread(() -> {
                    try {
                        running.await();
                        harm.to(cluster, victim);
                    } catch (Exception e) {
                        throw new IllegalStateException(e);
                    }
                });
                villain.start();
                BarrierJob.Outcome outcome = job.run(
                        context.parallelize(List.of(1, 2), 2),
                        attempt -> (rank, partition) -> {
                            rank.progress().onStep(new StepReport(rank.generation(), 9, 1, 1, 1, 1, 1, 1, 1));
                            if (rank.generation() == 1) {
                                BarrierTaskContext.get().barrier();
                                Thread.sleep(3_000);
                                BarrierTaskContext.get().barrier();
                            }
                        },
                        generation::incrementAndGet,
                        listener,
                        inbox);
                villain.join();
                assertEquals(1, outcome.restarts());
                assertEquals(2, generation.get());
                SparkCluster.await("the end of the old executor", 30, () -> !victim.isAlive());
                assertFalse(cluster.executors().contains(victim));
            }
        }
    }
}
