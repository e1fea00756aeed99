package io.brazier.tests.spark;

import java.io.File;
import java.io.IOException;
import java.io.InputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.function.BooleanSupplier;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.apache.spark.launcher.JavaModuleOptions;

/**
 * A real standalone cluster on the loopback device: one master and N workers, each a JVM of this test's own class path. Every wait
 * has a limit; every process it started is gone after {@link #close}.
 */
public final class SparkCluster implements AutoCloseable {
    private static final String LOOPBACK = "127.0.0.1";
    private static final String EXECUTOR = "org.apache.spark.executor.CoarseGrainedExecutorBackend";

    /**
     * What a worker has.
     *
     * @param cores of its executors together, for each of which it has 1 GiB
     * @param options of its JVM
     * @param environment that its executors inherit
     */
    public record Worker(int cores, List<String> options, Map<String, String> environment) {}

    private static final Worker PLAIN = new Worker(1, List.of(), Map.of());

    private final Path home;
    private final int port;
    private final int webPort;
    private final List<Process> processes = new ArrayList<>();

    private SparkCluster(Path home, int port, int webPort) {
        this.home = home;
        this.port = port;
        this.webPort = webPort;
    }

    /** Starts the master and workers of one core, and waits until all are alive. */
    public static SparkCluster start(int numWorkers) throws IOException {
        return start(numWorkers, PLAIN);
    }

    /** Starts the master and equal workers, and waits until all are alive. */
    public static SparkCluster start(int numWorkers, Worker worker) throws IOException {
        SparkCluster cluster = new SparkCluster(Files.createTempDirectory("brazier-cluster"), freePort(), freePort());
        try {
            Files.createDirectory(cluster.home.resolve("jars"));
            cluster.launch(
                    "master",
                    "org.apache.spark.deploy.master.Master",
                    PLAIN,
                    List.of("--host", LOOPBACK, "--port", "" + cluster.port, "--webui-port", "" + cluster.webPort));
            await("the master", 60, () -> cluster.masterState().contains("ALIVE"));
            for (int x = 0; x < numWorkers; x++) {
                Path work = Files.createDirectory(cluster.home.resolve("work" + x));
                cluster.launch(
                        "worker" + x,
                        "org.apache.spark.deploy.worker.Worker",
                        worker,
                        List.of(
                                "--host",
                                LOOPBACK,
                                "--webui-port",
                                "" + freePort(),
                                "--cores",
                                "" + worker.cores(),
                                "--memory",
                                worker.cores() + "g",
                                "--work-dir",
                                work.toString(),
                                cluster.masterUrl()));
            }
            await(numWorkers + " workers", 60, () -> cluster.masterState()
                    .replaceAll("\\s", "")
                    .contains("\"aliveworkers\":" + numWorkers));
            return cluster;
        } catch (IOException | RuntimeException | Error e) {
            cluster.close();
            throw e;
        }
    }

    public String masterUrl() {
        return "spark://" + LOOPBACK + ":" + port;
    }

    /** A directory of this cluster's own, on a disk that all its processes see. */
    public Path directory(String name) throws IOException {
        return Files.createDirectories(home.resolve(name));
    }

    /** The executor JVMs that live now, oldest first. */
    public List<ProcessHandle> executors() {
        return processes.stream()
                .flatMap(process -> process.toHandle().children())
                .filter(child -> child.isAlive() && commandLine(child).contains(EXECUTOR))
                .sorted(Comparator.comparing(
                        child -> child.info().startInstant().orElseThrow()))
                .collect(Collectors.toList());
    }

    /** Sends SIGKILL to an executor of this cluster. */
    public void kill(ProcessHandle executor) {
        if (executors().stream().noneMatch(executor::equals)) {
            throw new IllegalArgumentException("process " + executor.pid() + " is no executor of this cluster");
        }
        executor.destroyForcibly();
    }

    /** Stops an executor with SIGSTOP: it lives and says nothing. */
    public void freeze(ProcessHandle executor) throws IOException, InterruptedException {
        new ProcessBuilder("kill", "-STOP", "" + executor.pid()).start().waitFor();
    }

    /** Starts a driver JVM that runs the main class through SparkSubmit against this cluster; its output goes to log. */
    public Process submit(Class<?> main, Map<String, String> conf, Path log, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of("--master", masterUrl(), "--class", main.getName()));
        conf.forEach((key, value) -> command.addAll(List.of("--conf", key + "=" + value)));
        command.add("spark-internal");
        command.addAll(List.of(arguments));
        return launch(log, "org.apache.spark.deploy.SparkSubmit", PLAIN, command);
    }

    /** Polls until the condition holds. */
    public static void await(String what, int seconds, BooleanSupplier condition) {
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(seconds);
        while (!condition.getAsBoolean()) {
            if (System.nanoTime() > deadline) {
                throw new AssertionError("waited " + seconds + " s for " + what);
            }
            try {
                Thread.sleep(50);
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
                throw new AssertionError("interrupted while waiting for " + what, e);
            }
        }
    }

    /** What the processes of this cluster wrote, for the message of a failed test. */
    public String logs() throws IOException {
        try (Stream<Path> files = Files.walk(home)) {
            StringBuilder text = new StringBuilder();
            for (Path file : (Iterable<Path>) files.filter(Files::isRegularFile)
                    .filter(f -> f.toString().endsWith(".log")
                            || f.getFileName().toString().equals("stderr"))
                    .sorted()::iterator) {
                text.append("== ").append(home.relativize(file)).append('\n').append(Files.readString(file));
            }
            return text.toString();
        }
    }

    /** {@link #logs}, or why there are none. */
    public String logsOrReason() {
        try {
            return logs();
        } catch (IOException e) {
            return "no logs: " + e;
        }
    }

    @Override
    public void close() {
        for (int x = processes.size() - 1; x >= 0; x--) {
            List<ProcessHandle> all =
                    new ArrayList<>(processes.get(x).descendants().collect(Collectors.toList()));
            all.add(processes.get(x).toHandle());
            all.forEach(ProcessHandle::destroyForcibly);
            for (ProcessHandle handle : all) {
                await("the end of process " + handle.pid(), 20, () -> !handle.isAlive());
            }
        }
        deleteTree(home);
    }

    private void launch(String name, String main, Worker worker, List<String> arguments) throws IOException {
        launch(home.resolve(name + ".log"), main, worker, arguments);
    }

    private Process launch(Path log, String main, Worker worker, List<String> arguments) throws IOException {
        List<String> command = new ArrayList<>();
        command.add(ProcessHandle.current().info().command().orElse("java"));
        command.addAll(List.of(JavaModuleOptions.defaultModuleOptions().split("\\s+")));
        command.addAll(worker.options());
        command.addAll(List.of("-Xmx768m", "-Djava.io.tmpdir=" + home, "-cp", classPath(), main));
        command.addAll(arguments);
        ProcessBuilder builder = new ProcessBuilder(command)
                .directory(home.toFile())
                .redirectErrorStream(true)
                .redirectOutput(log.toFile());
        builder.environment()
                .putAll(Map.of(
                        "SPARK_HOME",
                        home.toString(),
                        "SPARK_SCALA_VERSION",
                        "2.13",
                        "SPARK_LOCAL_IP",
                        LOOPBACK,
                        "SPARK_DIST_CLASSPATH",
                        classPath()));
        builder.environment().putAll(worker.environment());
        Process process = builder.start();
        processes.add(process);
        return process;
    }

    /** Surefire may hide the class path in the manifest of one jar and names it in a property then. */
    public static String classPath() {
        String path = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
        return Stream.of(path.split(File.pathSeparator))
                .filter(entry -> !entry.isEmpty())
                .collect(Collectors.joining(File.pathSeparator));
    }

    /** Read from /proc, since the JDK leaves out command lines longer than a page. */
    private static String commandLine(ProcessHandle process) {
        try {
            return Files.readString(Path.of("/proc", "" + process.pid(), "cmdline"));
        } catch (IOException e) {
            return "";
        }
    }

    private String masterState() {
        try (InputStream in = URI.create("http://" + LOOPBACK + ":" + webPort + "/json/")
                .toURL()
                .openStream()) {
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            return "";
        }
    }

    private static int freePort() throws IOException {
        try (ServerSocket socket = new ServerSocket(0, 1, InetAddress.getByName(LOOPBACK))) {
            return socket.getLocalPort();
        }
    }

    private static void deleteTree(Path root) {
        try (Stream<Path> files = Files.walk(root)) {
            files.sorted(Comparator.reverseOrder()).map(Path::toFile).forEach(File::delete);
        } catch (IOException e) {
            throw new java.io.UncheckedIOException(e);
        }
    }
}
