package io.brazier.spark.barrier;

import io.brazier.checkpoint.CheckpointException;
import io.brazier.collective.CollectiveException;
import io.brazier.collective.Communicator;
import io.brazier.collective.CommunicatorServer;
import io.brazier.collective.Endpoint;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuCommunicators;
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
import java.time.Duration;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskKilledException;
import org.apache.spark.resource.ResourceInformation;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import scala.collection.Iterator;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/** One attempt of one rank, as Spark runs it: surrounds the work with watcher, rendezvous, error report and cleanup. */
final class RankTask<T> extends AbstractFunction1<Iterator<T>, Iterator<Integer>> implements Serializable {
    private static final long serialVersionUID = 1L;
    private static final Logger LOG = LoggerFactory.getLogger(RankTask.class);

    private final RankWork<T> work;
    private final long generation;
    private final byte[] secret;
    private final String channel;
    private final double collectiveSeconds;

    RankTask(RankWork<T> work, long generation, byte[] secret, String channel, double collectiveSeconds) {
        this.work = work;
        this.generation = generation;
        this.secret = secret;
        this.channel = channel;
        this.collectiveSeconds = collectiveSeconds;
    }

    @Override
    public Iterator<Integer> apply(Iterator<T> partition) {
        try (Attempt attempt = new Attempt(BarrierTaskContext.get())) {
            attempt.run(CollectionConverters.asJava(partition));
        }
        return CollectionConverters.asScala(Collections.<Integer>emptyIterator());
    }

    /** The state of this attempt; closing it leaves nothing behind. */
    private final class Attempt implements RankContext, AutoCloseable {
        private final BarrierTaskContext task;
        private final SparkEnv env = SparkEnv.get();
        private final DriverLink driver = new DriverLink(channel, generation);
        private final AtomicReference<Consumer<String>> stop = new AtomicReference<>(reason -> {});
        private final Path directory;
        private final Watcher watcher;
        private Communicator communicator;
        private int rank = -1;

        Attempt(BarrierTaskContext task) {
            this.task = task;
            this.directory = makeDirectory(env);
            this.watcher = new Watcher(
                    task,
                    () -> driver.beat(task.partitionId(), host(), env.executorId()),
                    () -> abort("Spark killed the task of " + place()),
                    !"driver".equals(env.executorId()));
        }

        void run(java.util.Iterator<T> partition) {
            try {
                work.run(this, partition);
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
            return generation;
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
        public void reportPeak(double flopsPerSecond) {
            driver.peak(flopsPerSecond);
        }

        @Override
        public void sendFile(Path file) throws IOException {
            driver.sendFile(file);
        }

        @Override
        @SuppressWarnings("try") // the server is closed early, from another thread, when Spark kills this task
        public Communicator join() {
            try (CommunicatorServer server = CpuCommunicators.open(
                    generation, secret, directory, InetAddress.getByName(host()), Transport.AUTO)) {
                stop.set(reason -> server.close());
                Member me = new Member(
                        host(),
                        device(),
                        env.executorId(),
                        partition(),
                        server.endpoint().encode());
                List<Member> members = Member.byRank(task.allGather(me.encode()), work.groupSize());
                rank = members.indexOf(me);
                warnOfSpanningGroups(members);
                List<Endpoint> endpoints = members.stream()
                        .map(member -> Endpoint.decode(member.endpoint()))
                        .collect(Collectors.toList());
                communicator = server.connect(rank, endpoints, Duration.ofMillis((long) (collectiveSeconds * 1e3)));
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
            List<String> spanning = Member.spanning(members, work.groupSize());
            if (rank == 0 && !spanning.isEmpty()) {
                LOG.warn(
                        "Tensor parallelism of {} ranks spans hosts and is bound by the network between them: {}. Give each"
                                + " host a multiple of {} executors",
                        work.groupSize(),
                        String.join("; ", spanning),
                        work.groupSize());
            }
        }

        /** Reports what happened to the driver and makes it an exception that can travel. */
        TrainingException failure(Throwable cause) {
            Category category = categoryOf(cause);
            String what = cause instanceof TrainingException ? stripCategory(cause) : cause.toString();
            String message = place() + ", after step " + Math.max(driver.lastStep(), 0) + ": " + what;
            try {
                driver.failed(category, message);
            } catch (RuntimeException e) {
                LOG.warn("The driver could not be told of: {}", message, e);
            }
            abort(message);
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

        private String device() {
            ResourceInformation gpu = task.resourcesJMap().get("gpu");
            return gpu == null || gpu.addresses().length == 0 ? "" : gpu.addresses()[0];
        }

        private String place() {
            return (rank < 0 ? "partition " + partition() : "rank " + rank) + " on " + host() + " (executor "
                    + env.executorId() + ", generation " + generation + ")";
        }
    }

    private static Category categoryOf(Throwable cause) {
        if (cause instanceof TrainingException) {
            return ((TrainingException) cause).category();
        }
        if (cause instanceof CollectiveException) {
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
