package io.brazier.spark.barrier;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.SparkEnv;
import org.apache.spark.rpc.RpcEndpointRef;
import org.apache.spark.util.RpcUtils;
import scala.reflect.ClassTag$;

/**
 * A task's end of the {@link JobChannel}. Progress is sent and forgotten; failures and files are acknowledged. Where no driver
 * listens all is dropped: such a task's failure travels as Spark's own.
 */
final class DriverLink implements TrainingListener {
    static final String BEAT = "beat";
    static final String DONE = "done";
    static final String DEVICE = "device";
    static final String STEP = "step";
    static final String EVALUATION = "evaluation";
    static final String CHECKPOINT = "checkpoint";
    static final String WARNING = "warning";
    static final String FAILED = "failed";
    static final String FILE = "file";

    private static final int FILE_PART_BYTES = 4 << 20;

    private final RpcEndpointRef driver;
    private final long generation;
    private volatile long lastStep = -1;

    private DriverLink(RpcEndpointRef driver, long generation) {
        this.driver = driver;
        this.generation = generation;
    }

    static DriverLink to(String channel, long generation) {
        SparkEnv env = SparkEnv.get();
        return new DriverLink(RpcUtils.makeDriverRef(channel, env.conf(), env.rpcEnv()), generation);
    }

    /** Of a stage that Spark runs when it likes. */
    static DriverLink none() {
        return new DriverLink(null, 0);
    }

    /** The last step this rank finished, or -1. */
    long lastStep() {
        return lastStep;
    }

    /** Remembers the last step and tells the driver nothing. */
    TrainingListener silent() {
        return new TrainingListener() {
            @Override
            public void onStep(StepReport report) {
                lastStep = report.step();
            }
        };
    }

    void beat(int partition, String host, String executorId) {
        send(new Object[] {BEAT, generation, partition, host, executorId});
    }

    /** Says that this task ends of itself and owes no further heartbeat. */
    void done(int partition) {
        ask(DONE, generation, partition);
    }

    void failed(Category category, String message) {
        ask(FAILED, generation, category.name(), message);
    }

    /** @param description empty where another rank gives it */
    void device(String description, double peakFlops) {
        ask(DEVICE, generation, description, peakFlops);
    }

    @Override
    public void onStep(StepReport report) {
        lastStep = report.step();
        send(new Object[] {
            STEP,
            generation,
            new long[] {report.step(), report.numSteps(), report.tokens(), report.memoryBytes(), report.droppedTokens()
            },
            new double[] {
                report.loss(),
                report.gradientNorm(),
                report.learningRate(),
                report.seconds(),
                report.modelFlops(),
                report.balanceLoss()
            }
        });
    }

    @Override
    public void onEvaluation(EvaluationReport report) {
        send(new Object[] {EVALUATION, generation, report.step(), report.loss(), report.tokens()});
    }

    @Override
    public void onCheckpoint(long step, String path) {
        send(new Object[] {CHECKPOINT, generation, step, path});
    }

    @Override
    public void onWarning(String message) {
        send(new Object[] {WARNING, generation, message});
    }

    /** Copies a file to the driver, in parts. */
    void sendFile(Path file) throws IOException {
        try (InputStream in = Files.newInputStream(file)) {
            long offset = 0;
            byte[] part = in.readNBytes(FILE_PART_BYTES);
            do {
                if (!ask(FILE, generation, file.getFileName().toString(), offset, part)) {
                    throw new IOException("the driver did not take " + file.getFileName() + " at byte " + offset);
                }
                offset += part.length;
                part = in.readNBytes(FILE_PART_BYTES);
            } while (part.length > 0);
        }
    }

    private void send(Object[] message) {
        if (driver != null) {
            driver.send(message);
        }
    }

    private boolean ask(Object... message) {
        return driver == null || driver.<Boolean>askSync(message, ClassTag$.MODULE$.apply(Boolean.class));
    }
}
