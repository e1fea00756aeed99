package io.brazier.spark.barrier;

import io.brazier.train.EvaluationReport;
import io.brazier.train.StepReport;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import org.apache.spark.SparkEnv;
import org.apache.spark.rpc.RpcCallContext;
import org.apache.spark.rpc.RpcEnv;
import org.apache.spark.rpc.ThreadSafeRpcEndpoint;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.Function1;
import scala.PartialFunction;
import scala.runtime.AbstractPartialFunction;
import scala.runtime.BoxedUnit;

/**
 * The driver's end of a job: progress, heartbeats, failures and the files of the finished model come in. It speaks over Spark's own
 * RPC, with Spark's authentication, and needs no plugin. Messages are arrays of JDK types, so that they can be read whichever
 * class loader holds this class. Messages of another generation than the current one are dropped.
 */
final class JobChannel implements ThreadSafeRpcEndpoint, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(JobChannel.class);

    /** A task that is known to have lived, and when it was last heard of. */
    record Pulse(int partition, String host, String executorId, long nanoTime) {}

    /** What a rank said before it ended. */
    record Failure(Category category, String message) {}

    private final String name;
    private final RpcEnv rpcEnv;
    private final TrainingListener listener;
    private final Path inbox;
    private final Map<Integer, Pulse> pulses = new ConcurrentHashMap<>();
    private final List<Failure> failures = new ArrayList<>();
    private volatile long generation = -1;
    private volatile long lastStep = -1;
    private volatile String device = "";
    private volatile double peakFlops;

    /**
     * @param listener hears of the steps, on a thread of Spark's
     * @param inbox directory that receives the files rank 0 sends
     */
    JobChannel(String name, TrainingListener listener, Path inbox) {
        this.name = name;
        this.rpcEnv = SparkEnv.get().rpcEnv();
        this.listener = listener;
        this.inbox = inbox;
        rpcEnv.setupEndpoint(name, this);
    }

    String name() {
        return name;
    }

    /** From here on only messages of this generation count. */
    synchronized void begin(long newGeneration) {
        generation = newGeneration;
        lastStep = -1;
        device = "";
        peakFlops = 0;
        pulses.clear();
        failures.clear();
    }

    /** The last step finished in this generation, or -1. */
    long lastStep() {
        return lastStep;
    }

    /** What rank 0 computes on. */
    String device() {
        return device;
    }

    /** FLOP/s that all ranks together can reach. */
    double peakFlops() {
        return peakFlops;
    }

    /** A task that has been silent for longer than this. */
    Optional<Pulse> silent(double seconds) {
        long now = System.nanoTime();
        return pulses.values().stream()
                .filter(pulse -> (now - pulse.nanoTime()) / 1e9 > seconds)
                .min(Comparator.comparingLong(Pulse::nanoTime));
    }

    /** The first failure that is not merely the echo of another rank's. */
    synchronized Optional<Failure> rootFailure() {
        Optional<Failure> root = failures.stream()
                .filter(failure -> failure.category() != Category.COLLECTIVE)
                .findFirst();
        return root.isPresent() ? root : failures.stream().findFirst();
    }

    @Override
    public RpcEnv rpcEnv() {
        return rpcEnv;
    }

    @Override
    public PartialFunction<Object, BoxedUnit> receive() {
        return new Handler() {
            @Override
            void handle(Object[] message) {
                accept(message);
            }
        };
    }

    @Override
    public PartialFunction<Object, BoxedUnit> receiveAndReply(RpcCallContext context) {
        return new Handler() {
            @Override
            void handle(Object[] message) {
                context.reply(accept(message));
            }
        };
    }

    @Override
    public void close() {
        begin(-1);
        rpcEnv.stop(self());
    }

    /** Takes a message {kind, generation, ...}; false when it comes too late. */
    private boolean accept(Object[] message) {
        if ((Long) message[1] != generation) {
            return false;
        }
        try {
            dispatch(message);
            return true;
        } catch (IOException | RuntimeException e) {
            LOG.warn("Message {} of the job was not taken", message[0], e);
            return false;
        }
    }

    private void dispatch(Object[] message) throws IOException {
        switch ((String) message[0]) {
            case DriverLink.BEAT -> {
                Pulse pulse =
                        new Pulse((Integer) message[2], (String) message[3], (String) message[4], System.nanoTime());
                pulses.put(pulse.partition(), pulse);
            }
            case DriverLink.DONE -> pulses.remove((Integer) message[2]);
            case DriverLink.DEVICE -> {
                if (!((String) message[2]).isEmpty()) {
                    device = (String) message[2];
                }
                peakFlops += (Double) message[3];
                listener.onDevice(device, peakFlops);
            }
            case DriverLink.STEP -> {
                long[] counts = (long[]) message[2];
                double[] values = (double[]) message[3];
                lastStep = counts[0];
                listener.onStep(new StepReport(
                        counts[0], counts[1], values[0], values[1], values[2], counts[2], values[3], values[4],
                        counts[3], values[5], counts[4]));
            }
            case DriverLink.EVALUATION -> listener.onEvaluation(
                    new EvaluationReport((Long) message[2], (Double) message[3], (Long) message[4]));
            case DriverLink.CHECKPOINT -> listener.onCheckpoint((Long) message[2], (String) message[3]);
            case DriverLink.WARNING -> listener.onWarning((String) message[2]);
            case DriverLink.FAILED -> {
                synchronized (this) {
                    failures.add(new Failure(Category.valueOf((String) message[2]), (String) message[3]));
                }
            }
            case DriverLink.FILE -> store((String) message[2], (Long) message[3], (byte[]) message[4]);
            default -> throw new IllegalStateException("unknown message " + message[0]);
        }
    }

    private void store(String file, long offset, byte[] bytes) throws IOException {
        if (!file.matches("[A-Za-z0-9_-][A-Za-z0-9._-]*")) {
            throw new IOException("refused file name " + file);
        }
        Path path = inbox.resolve(file);
        if (offset == 0) {
            Files.deleteIfExists(path);
        }
        long present = Files.exists(path) ? Files.size(path) : 0;
        if (present != offset) {
            throw new IOException(file + " has " + present + " bytes, the next part begins at " + offset);
        }
        Files.write(path, bytes, StandardOpenOption.CREATE, StandardOpenOption.APPEND);
    }

    private abstract static class Handler extends AbstractPartialFunction<Object, BoxedUnit> {
        abstract void handle(Object[] message);

        @Override
        public boolean isDefinedAt(Object message) {
            return message instanceof Object[];
        }

        @Override
        @SuppressWarnings("unchecked")
        public <A, B> B applyOrElse(A message, Function1<A, B> otherwise) {
            if (!isDefinedAt(message)) {
                return otherwise.apply(message);
            }
            handle((Object[]) message);
            return (B) BoxedUnit.UNIT;
        }
    }
}
