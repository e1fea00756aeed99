package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.nccl.*;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.PointerPointer;

/** A rank of a non-blocking communicator, on a device of its own. Belongs to one thread. */
final class NcclRank implements AutoCloseable {
    private static final int UNDEFINED = Integer.MIN_VALUE;
    private static final long DEADLINE_NANOS = 60_000_000_000L;

    final Rank rank;
    final ncclComm communicator;
    final int number;
    final int numRanks;

    /** What a rank does once all are there. */
    interface Body {
        void run(NcclRank rank) throws Exception;
    }

    NcclRank(ncclUniqueId id, int number, int numRanks, int ordinal) {
        this(new Rank(ordinal), number, numRanks, join(id, number, numRanks, ordinal));
    }

    private NcclRank(Rank rank, int number, int numRanks, ncclComm communicator) {
        this.rank = rank;
        this.number = number;
        this.numRanks = numRanks;
        this.communicator = communicator;
        assertEquals(ncclSuccess, settled());
    }

    static ncclUniqueId newId() {
        Cudasim.load();
        ncclUniqueId id = new ncclUniqueId();
        assertEquals(ncclSuccess, ncclGetUniqueId(id));
        return id;
    }

    static ncclConfig_t nonBlocking() {
        ncclConfig_t config = new ncclConfig_t();
        config.size(config.sizeof());
        config.magic(NCCL_API_MAGIC);
        config.version(NCCL_VERSION_CODE);
        config.blocking(0);
        config.cgaClusterSize(UNDEFINED).minCTAs(UNDEFINED).maxCTAs(UNDEFINED).splitShare(UNDEFINED);
        return config;
    }

    private static ncclComm join(ncclUniqueId id, int number, int numRanks, int ordinal) {
        PointerPointer<ncclComm> made = new PointerPointer<>(1);
        assertEquals(
                ncclInProgress, ncclCommInitRankConfig(made, numRanks, id, number, nonBlocking()), "device " + ordinal);
        return made.get(ncclComm.class);
    }

    /** Polls until no call is in progress. */
    int settled() {
        return settled(communicator);
    }

    static int settled(ncclComm communicator) {
        int[] state = {ncclInProgress};
        long start = System.nanoTime();
        while (state[0] == ncclInProgress && System.nanoTime() - start < DEADLINE_NANOS) {
            assertEquals(ncclSuccess, ncclCommGetAsyncError(communicator, state));
            Thread.onSpinWait();
        }
        return state[0];
    }

    /** Polls until the communicator says that something is wrong. */
    int failure() {
        int[] state = {ncclSuccess};
        long start = System.nanoTime();
        while ((state[0] == ncclInProgress || state[0] == ncclSuccess) && System.nanoTime() - start < DEADLINE_NANOS) {
            assertEquals(ncclSuccess, ncclCommGetAsyncError(communicator, state));
            Thread.onSpinWait();
        }
        return state[0];
    }

    /** Asserts what a call of a non-blocking communicator may return, and waits until it is made. */
    void made(int result) {
        assertTrue(
                result == ncclSuccess || result == ncclInProgress,
                ncclGetErrorString(result).getString());
        assertEquals(ncclSuccess, settled());
    }

    /** Runs ranks on threads of their own, each with its device; throws what the first of them threw. */
    static void threads(int numRanks, Body body) throws Exception {
        ncclUniqueId id = newId();
        ExecutorService executor = Executors.newFixedThreadPool(numRanks);
        try {
            List<Future<?>> running = new ArrayList<>();
            for (int x = 0; x < numRanks; x++) {
                int number = x;
                running.add(executor.submit(() -> {
                    try (NcclRank rank = new NcclRank(id, number, numRanks, number)) {
                        body.run(rank);
                    }
                    return null;
                }));
            }
            for (Future<?> one : running) {
                one.get(90, TimeUnit.SECONDS);
            }
        } finally {
            executor.shutdownNow();
        }
    }

    /** Lets the device forget what waits for others, and the others know. */
    void abort() {
        assertEquals(ncclSuccess, ncclCommAbort(communicator));
        communicator.setNull();
    }

    @Override
    public void close() {
        rank.synchronize();
        if (!communicator.isNull()) {
            assertEquals(ncclSuccess, ncclCommDestroy(communicator));
        }
        rank.close();
    }
}
