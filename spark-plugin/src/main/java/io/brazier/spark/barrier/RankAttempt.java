package io.brazier.spark.barrier;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.collective.CollectiveException;
import io.brazier.collective.Communicator;
import io.brazier.collective.CommunicatorServer;
import io.brazier.collective.Endpoint;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cuda.CudaException;
import io.brazier.spark.plugin.ExecutorGpus;
import io.brazier.train.TrainingException;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingListener;
import java.io.IOException;
import java.io.Serializable;
import java.net.InetAddress;
import java.net.UnknownHostException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskKilledException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * One attempt of one rank inside its task: watcher, rendezvous, error report and cleanup around what it works on. Closing leaves
 * nothing behind.
 */
final class RankAttempt implements RankContext, AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(RankAttempt.class);

    private final BarrierTaskContext task;
    private final SparkEnv env = SparkEnv.get();
    private final Terms terms;
    private final DriverLink driver;
    private final AtomicReference<Consumer<String>> stop = new AtomicReference<>(reason -> {});
    private final Path directory;
    private final Watcher watcher;
    private Communicator communicator;
    private int rank = -1;

    /**
     * What the tasks of an attempt have in common.
     *
     * @param secret 32 bytes that only its ranks know
     * @param groupSize neighbouring ranks that exchange most and should share a host
     * @param numConnected neighbouring ranks that are connected with each other; a multiple of groupSize
     * @param collectiveSeconds how long a collective call may stand still
     */
    record Terms(long generation, byte[] secret, int groupSize, int numConnected, double collectiveSeconds)
            implements Serializable {
        private static final long serialVersionUID = 1L;
        private static final SecureRandom RANDOM = new SecureRandom();
        private static final int SECRET_BYTES = 32;

        Terms of(long attempt) {
            return new Terms(attempt, secret, groupSize, numConnected, collectiveSeconds);
        }

        static byte[] newSecret() {
            byte[] secret = new byte[SECRET_BYTES];
            RANDOM.nextBytes(secret);
            return secret;
        }
    }

    RankAttempt(BarrierTaskContext task, Terms terms, DriverLink driver) {
        this.task = task;
        this.terms = terms;
        this.driver = driver;
        this.directory = makeDirectory(env);
        this.watcher = new Watcher(
                task,
                () -> driver.beat(task.partitionId(), host(), env.executorId()),
                () -> abort("Spark killed the task of " + place()),
                !"driver".equals(env.executorId()));
    }

    /** Runs what belongs to the attempt; a failure of it ends all ranks that are connected with this one. */
    <V> V run(Callable<V> work) {
        try {
            return work.call();
        } catch (TaskKilledException e) {
            abort("Spark killed the task of " + place());
            throw e;
        } catch (Exception | OutOfMemoryError e) {
            throw failure(e);
        } catch (Error e) {
            failure(e);
            throw e;
        }
    }

    @Override
    public long generation() {
        return terms.generation();
    }

    @Override
    public int partition() {
        return task.partitionId();
    }

    @Override
    public int numThreads() {
        return task.cpus();
    }

    @Override
    public Path localDirectory() {
        return directory;
    }

    @Override
    public TrainingListener progress() {
        return rank > 0 ? driver.silent() : driver;
    }

    @Override
    public void reportDevice(String description, double peakFlops) {
        LOG.info("{} computes on {}", place(), description);
        driver.device(rank > 0 ? "" : description, peakFlops);
    }

    @Override
    public void sendFile(Path file) throws IOException {
        driver.sendFile(file);
    }

    @Override
    @SuppressWarnings("try") // the server is closed early, from another thread, when Spark kills this task
    public Communicator join() {
        try (CommunicatorServer server = CpuCommunicators.open(
                terms.generation(), terms.secret(), directory, InetAddress.getByName(host()), Transport.AUTO)) {
            stop.set(reason -> server.close());
            Member me = new Member(
                    host(),
                    ExecutorGpus.assigned(task).orElse(""),
                    env.executorId(),
                    partition(),
                    server.endpoint().encode());
            List<Member> members = Member.byRank(task.allGather(me.encode()), terms.groupSize());
            rank = members.indexOf(me);
            warnOfSpanningGroups(members);
            int first = rank / terms.numConnected() * terms.numConnected();
            List<Endpoint> endpoints = members.subList(first, first + terms.numConnected()).stream()
                    .map(member -> Endpoint.decode(member.endpoint()))
                    .collect(Collectors.toList());
            communicator = server.connect(
                    rank - first, endpoints, Duration.ofMillis((long) (terms.collectiveSeconds() * 1e3)));
            stop.set(communicator::abort);
            if (task.isInterrupted()) {
                communicator.abort("Spark killed the task of " + place());
            }
            return communicator;
        } catch (UnknownHostException e) {
            throw new TrainingException(Category.COLLECTIVE, "host name " + host() + " has no address", e);
        }
    }

    private void warnOfSpanningGroups(List<Member> members) {
        List<String> spanning = Member.spanning(members, terms.groupSize());
        if (rank == 0 && !spanning.isEmpty()) {
            LOG.warn(
                    "Tensor parallelism of {} ranks spans hosts and is bound by the network between them: {}. Give each"
                            + " host a multiple of {} executors",
                    terms.groupSize(),
                    String.join("; ", spanning),
                    terms.groupSize());
        }
    }

    /** Reports what happened to the driver and makes it an exception that can travel. */
    TrainingException failure(Throwable cause) {
        Category category = categoryOf(cause);
        String what = cause instanceof TrainingException ? stripCategory(cause) : cause.toString();
        String message = place() + (driver.lastStep() < 0 ? "" : ", after step " + driver.lastStep()) + ": " + what;
        try {
            driver.failed(category, message);
        } catch (RuntimeException e) {
            LOG.warn("The driver could not be told of: {}", message, e);
        }
        abort(message);
        ExecutorGpus.endIfLost(cause);
        return new TrainingException(category, message, cause);
    }

    @Override
    public void close() {
        watcher.close();
        if (communicator != null) {
            communicator.close();
        }
        deleteTree(directory);
        try {
            driver.done(partition());
        } catch (RuntimeException e) {
            LOG.warn("The driver could not be told of the end of {}", place(), e);
        }
    }

    /** From any thread. */
    private void abort(String reason) {
        stop.get().accept(reason);
    }

    private String host() {
        return env.blockManager().blockManagerId().host();
    }

    private String place() {
        return (rank < 0 ? "partition " + partition() : "rank " + rank) + " on " + host() + " (executor "
                + env.executorId() + ", generation " + terms.generation() + ")";
    }

    private static Category categoryOf(Throwable cause) {
        if (cause instanceof TrainingException) {
            return ((TrainingException) cause).category();
        }
        if (cause instanceof CollectiveException
                || cause instanceof CudaException && ((CudaException) cause).ofExchange()) {
            return Category.COLLECTIVE;
        }
        if (cause instanceof IllegalArgumentException) {
            return Category.CONFIG;
        }
        return cause instanceof CheckpointException ? Category.CHECKPOINT : Category.DEVICE;
    }

    private static String stripCategory(Throwable cause) {
        String prefix = ((TrainingException) cause).category() + ": ";
        String message = cause.getMessage();
        return message.startsWith(prefix) ? message.substring(prefix.length()) : message;
    }

    private static Path makeDirectory(SparkEnv env) {
        try {
            Path local = Path.of(env.blockManager().diskBlockManager().localDirsString()[0]);
            return Files.createTempDirectory(
                    local,
                    "brazier",
                    PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwx------")));
        } catch (IOException e) {
            throw new TrainingException(
                    Category.DEVICE, "no directory in Spark's local directories (spark.local.dir): " + e, e);
        }
    }

    private static void deleteTree(Path root) {
        try (Stream<Path> files = Files.walk(root)) {
            for (Path file : files.sorted(Comparator.reverseOrder()).collect(Collectors.toList())) {
                Files.delete(file);
            }
        } catch (IOException e) {
            LOG.warn("{} was not deleted", root, e);
        }
    }
}
