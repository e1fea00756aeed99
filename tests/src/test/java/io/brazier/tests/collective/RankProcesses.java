package io.brazier.tests.collective;

import io.brazier.collective.Communicator;
import io.brazier.collective.CommunicatorServer;
import io.brazier.collective.Endpoint;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuCommunicators;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintWriter;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.TimeUnit;

/** A group of ranks, each a JVM of its own. Parent and children speak in lines over the children's standard streams. */
public final class RankProcesses implements AutoCloseable {

    private static final long EXIT_SECONDS = 60;

    private final List<Process> processes = new ArrayList<>();
    private final List<BufferedReader> outputs = new ArrayList<>();
    private final List<PrintWriter> inputs = new ArrayList<>();

    /** Starts a main class in as many JVMs, which call {@link #join}, and introduces them to each other. */
    public static RankProcesses start(Class<?> main, int size, Transport transport, String... arguments)
            throws IOException {
        RankProcesses group = new RankProcesses();
        try {
            for (int rank = 0; rank < size; rank++) {
                group.launch(main, arguments);
            }
            byte[] secret = new byte[32];
            new SecureRandom().nextBytes(secret);
            for (int rank = 0; rank < size; rank++) {
                group.tell(
                        rank, rank + " " + transport + " " + Base64.getEncoder().encodeToString(secret));
            }
            List<String> endpoints = new ArrayList<>();
            for (int rank = 0; rank < size; rank++) {
                endpoints.add(group.hear(rank));
            }
            for (int rank = 0; rank < size; rank++) {
                group.tell(rank, String.join(" ", endpoints));
            }
            return group;
        } catch (IOException | RuntimeException e) {
            group.close();
            throw e;
        }
    }

    private void launch(Class<?> main, String... arguments) throws IOException {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx256m",
                "-cp",
                System.getProperty("java.class.path"),
                main.getName()));
        command.addAll(List.of(arguments));
        Process process = new ProcessBuilder(command)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        processes.add(process);
        outputs.add(new BufferedReader(new InputStreamReader(process.getInputStream(), StandardCharsets.UTF_8)));
        inputs.add(new PrintWriter(process.getOutputStream(), true, StandardCharsets.UTF_8));
    }

    public void tell(int rank, String line) {
        inputs.get(rank).println(line);
    }

    /** The next line that a rank prints. */
    public String hear(int rank) throws IOException {
        String line = outputs.get(rank).readLine();
        if (line == null) {
            throw new IOException("rank " + rank + " ended without an answer");
        }
        return line;
    }

    public Process process(int rank) {
        return processes.get(rank);
    }

    /** Ends what still runs, then waits. */
    @Override
    public void close() {
        processes.forEach(Process::destroyForcibly);
        for (Process process : processes) {
            try {
                if (!process.waitFor(EXIT_SECONDS, TimeUnit.SECONDS)) {
                    throw new AssertionError("process " + process.pid() + " does not end");
                }
            } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
            }
        }
    }

    /** In a child: takes its place in the group. Further lines from the parent can be read from input. */
    static Communicator join(BufferedReader input, Duration deadline) throws IOException {
        String[] words = input.readLine().split(" ");
        int rank = Integer.parseInt(words[0]);
        byte[] secret = Base64.getDecoder().decode(words[2]);
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        InetAddress own = InetAddress.getLoopbackAddress();
        try (CommunicatorServer server =
                CpuCommunicators.open(1, secret, temporary, own, Transport.valueOf(words[1]))) {
            System.out.println(server.endpoint().encode());
            List<Endpoint> endpoints = Arrays.stream(input.readLine().split(" "))
                    .map(Endpoint::decode)
                    .toList();
            return server.connect(rank, endpoints, deadline);
        }
    }

    /** In a child: joins with its standard streams. */
    public static Communicator join(Duration deadline) throws IOException {
        return join(new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8)), deadline);
    }
}
