package io.brazier.tests.bench;

import io.brazier.collective.Communicator;
import io.brazier.collective.CommunicatorServer;
import io.brazier.collective.ElementType;
import io.brazier.collective.Endpoint;
import io.brazier.collective.Transport;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuNative;
import io.brazier.exec.TrainingEngine;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.Writer;
import java.net.InetAddress;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.List;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import java.util.stream.IntStream;

/**
 * One rank of a benchmark, in a JVM of its own with one thread. It takes the secret from standard input, prints its endpoint, takes
 * everybody's, and prints its figures.
 */
final class RankProcess {
    private static final Duration DEADLINE = Duration.ofMinutes(2);
    private static final long LIMIT_SECONDS = 600;
    private static final long ALL_REDUCE_BYTES = 500_000_000;
    private static final int ALL_REDUCES = 8;

    /** The case that is no training: the figure is bytes per second of an all-reduce. */
    static final String ALL_REDUCE = "all-reduce";

    private final Process process;
    private final BufferedReader out;
    private final Writer in;

    private RankProcess(String name, int numSteps) throws IOException {
        process = new ProcessBuilder(
                        ProcessHandle.current().info().command().orElse("java"),
                        "-cp",
                        System.getProperty("java.class.path"),
                        RankProcess.class.getName(),
                        name,
                        "" + numSteps)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        out = process.inputReader(StandardCharsets.UTF_8);
        in = process.outputWriter(StandardCharsets.UTF_8);
    }

    /** Runs a case on numRanks connected processes at once; returns the mean of their figures. */
    static double run(String name, int numRanks, int numSteps) throws IOException {
        return run(name, numRanks, numRanks, numSteps);
    }

    /** Runs a case on two processes at once that know nothing of each other: what sharing the machine costs. */
    static double runApart(String name, int numSteps) throws IOException {
        return run(name, 2, 1, numSteps);
    }

    /** Runs two connected ranks that share a step as a layout says; returns the means of {@link LayoutRun}'s figures. */
    static double[] runLayout(LayoutRun run, int numSteps) throws IOException {
        return figures(run.encode(), 2, 2, numSteps);
    }

    private static double run(String name, int numRanks, int groupSize, int numSteps) throws IOException {
        return figures(name, numRanks, groupSize, numSteps)[0];
    }

    private static double[] figures(String name, int numRanks, int groupSize, int numSteps) throws IOException {
        List<RankProcess> ranks = new ArrayList<>();
        Thread limit = new Thread(() -> {
            try {
                TimeUnit.SECONDS.sleep(LIMIT_SECONDS);
                ranks.forEach(rank -> rank.process.destroyForcibly());
            } catch (InterruptedException e) {
                // All ended in time.
            }
        });
        limit.setDaemon(true);
        limit.start();
        try {
            for (int rank = 0; rank < numRanks; rank++) {
                ranks.add(new RankProcess(name, numSteps));
            }
            byte[] secret = new byte[32];
            new SecureRandom().nextBytes(secret);
            List<String> endpoints = new ArrayList<>();
            for (RankProcess rank : ranks) {
                rank.write(HexFormat.of().formatHex(secret));
                endpoints.add(rank.readLine());
            }
            for (int x = 0; x < numRanks; x++) {
                int first = x - x % groupSize;
                ranks.get(x).write(x % groupSize + " " + String.join(" ", endpoints.subList(first, first + groupSize)));
            }
            double[][] figures = new double[numRanks][];
            for (int x = 0; x < numRanks; x++) {
                figures[x] = Arrays.stream(ranks.get(x).readLine().split(" "))
                        .mapToDouble(Double::parseDouble)
                        .toArray();
            }
            return IntStream.range(0, figures[0].length)
                    .mapToDouble(x -> Arrays.stream(figures)
                            .mapToDouble(f -> f[x])
                            .average()
                            .orElseThrow())
                    .toArray();
        } finally {
            limit.interrupt();
            ranks.forEach(rank -> rank.process.destroyForcibly());
        }
    }

    private void write(String line) throws IOException {
        in.write(line + "\n");
        in.flush();
    }

    private String readLine() throws IOException {
        String line = out.readLine();
        if (line == null) {
            throw new IOException("a rank ended, or took over " + LIMIT_SECONDS + " s; its error is above");
        }
        return line;
    }

    public static void main(String[] arguments) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        byte[] secret = HexFormat.of().parseHex(in.readLine());
        try (CommunicatorServer server = CpuCommunicators.open(
                1,
                secret,
                Path.of(System.getProperty("java.io.tmpdir")),
                InetAddress.getLoopbackAddress(),
                Transport.AUTO)) {
            System.out.println(server.endpoint().encode());
            String[] words = in.readLine().split(" ");
            List<Endpoint> endpoints = new ArrayList<>();
            for (int x = 1; x < words.length; x++) {
                endpoints.add(Endpoint.decode(words[x]));
            }
            try (Communicator communicator = server.connect(Integer.parseInt(words[0]), endpoints, DEADLINE)) {
                double[] figures = figures(arguments[0], Integer.parseInt(arguments[1]), communicator);
                System.out.println(
                        Arrays.stream(figures).mapToObj(Double::toString).collect(Collectors.joining(" ")));
            }
        }
    }

    private static double[] figures(String name, int numSteps, Communicator communicator) {
        if (name.equals(ALL_REDUCE)) {
            return new double[] {allReduceBytesPerSecond(communicator)};
        }
        if (name.startsWith(LayoutRun.PREFIX)) {
            return LayoutRun.decode(name).figures(communicator, numSteps);
        }
        BenchCase bench = BenchCase.named(name);
        try (TrainingEngine engine = bench.engine(communicator, 1)) {
            double seconds =
                    StepTimer.time(engine, bench, numSteps, communicator.rank()).seconds();
            return new double[] {bench.tokens() / seconds};
        }
    }

    private static double allReduceBytesPerSecond(Communicator communicator) {
        long memory = CpuNative.allocate(ALL_REDUCE_BYTES);
        CpuNative.fill(memory, ALL_REDUCE_BYTES / 4, 1e-3f);
        double best = Double.MAX_VALUE;
        for (int x = 0; x < ALL_REDUCES; x++) {
            communicator.barrier();
            long start = System.nanoTime();
            communicator
                    .allReduce(memory, ALL_REDUCE_BYTES / 4, ElementType.F32)
                    .await();
            best = Math.min(best, (System.nanoTime() - start) / 1e9);
        }
        CpuNative.free(memory, ALL_REDUCE_BYTES);
        return ALL_REDUCE_BYTES / best;
    }
}
