package io.brazier.collective;

import io.brazier.cpu.CpuCommunicators;
import java.net.InetAddress;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.stream.IntStream;

/** Groups of ranks for tests, each rank a thread of this process. */
final class Groups {

    /** How the ranks reach each other. */
    enum Wiring {
        LOCAL,
        SHARED_MEMORY,
        TCP,
        /** The last rank talks TCP with all others, which share memory. */
        MIXED
    }

    static final byte[] SECRET =
            "0123456789abcdef0123456789abcdef".getBytes(java.nio.charset.StandardCharsets.US_ASCII);
    static final Duration DEADLINE = Duration.ofSeconds(30);
    private static final long LIMIT_SECONDS = 120;

    private Groups() {}

    /** What a rank does. */
    interface Body<T> {
        T run(Communicator communicator) throws Exception;
    }

    /** Runs a body on each rank of a new group, closes it, and returns the results by rank. */
    static <T> List<T> run(Wiring wiring, int size, Body<T> body) throws Exception {
        return run(wiring, size, DEADLINE, body);
    }

    static <T> List<T> run(Wiring wiring, int size, Duration deadline, Body<T> body) throws Exception {
        List<Communicator> group = connect(wiring, size, deadline);
        return onThreads(size, rank -> {
            try (Communicator communicator = group.get(rank)) {
                return body.run(communicator);
            }
        });
    }

    static List<Communicator> connect(Wiring wiring, int size, Duration deadline) throws Exception {
        if (wiring == Wiring.LOCAL) {
            return CpuCommunicators.local(size, deadline);
        }
        List<CommunicatorServer> servers = new ArrayList<>();
        for (int rank = 0; rank < size; rank++) {
            servers.add(open(
                    switch (wiring) {
                        case LOCAL, SHARED_MEMORY -> Transport.SHARED_MEMORY;
                        case TCP -> Transport.TCP;
                        case MIXED -> rank == size - 1 ? Transport.TCP : Transport.AUTO;
                    }));
        }
        return connect(servers, deadline);
    }

    static CommunicatorServer open(Transport transport) {
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        return CpuCommunicators.open(7, SECRET, temporary, InetAddress.getLoopbackAddress(), transport);
    }

    static List<Communicator> connect(List<CommunicatorServer> servers, Duration deadline) throws Exception {
        List<Endpoint> endpoints = servers.stream()
                .map(CommunicatorServer::endpoint)
                .map(Endpoint::encode)
                .map(Endpoint::decode)
                .toList();
        return onThreads(servers.size(), rank -> servers.get(rank).connect(rank, endpoints, deadline));
    }

    /** What the thread of a rank does. */
    interface RankBody<T> {
        T run(int rank) throws Exception;
    }

    /** Runs a body for each rank on its own thread; the first failure by rank is thrown. */
    static <T> List<T> onThreads(int size, RankBody<T> body) throws Exception {
        ExecutorService threads = Executors.newFixedThreadPool(size);
        try {
            List<Future<T>> futures = IntStream.range(0, size)
                    .mapToObj(rank -> threads.submit(() -> body.run(rank)))
                    .toList();
            List<T> results = new ArrayList<>();
            for (Future<T> future : futures) {
                results.add(future.get(LIMIT_SECONDS, TimeUnit.SECONDS));
            }
            return results;
        } catch (ExecutionException e) {
            throw e.getCause() instanceof Exception cause ? cause : e;
        } finally {
            threads.shutdownNow();
        }
    }
}
