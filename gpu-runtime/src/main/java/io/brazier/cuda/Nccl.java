package io.brazier.cuda;

import static org.bytedeco.cuda.global.nccl.NCCL_API_MAGIC;
import static org.bytedeco.cuda.global.nccl.NCCL_SPLIT_NOCOLOR;
import static org.bytedeco.cuda.global.nccl.NCCL_UNIQUE_ID_BYTES;
import static org.bytedeco.cuda.global.nccl.NCCL_VERSION_CODE;
import static org.bytedeco.cuda.global.nccl.ncclBfloat16;
import static org.bytedeco.cuda.global.nccl.ncclCommAbort;
import static org.bytedeco.cuda.global.nccl.ncclCommDestroy;
import static org.bytedeco.cuda.global.nccl.ncclCommFinalize;
import static org.bytedeco.cuda.global.nccl.ncclCommGetAsyncError;
import static org.bytedeco.cuda.global.nccl.ncclCommInitRankConfig;
import static org.bytedeco.cuda.global.nccl.ncclCommSplit;
import static org.bytedeco.cuda.global.nccl.ncclFloat32;
import static org.bytedeco.cuda.global.nccl.ncclFloat64;
import static org.bytedeco.cuda.global.nccl.ncclGetErrorString;
import static org.bytedeco.cuda.global.nccl.ncclGetLastError;
import static org.bytedeco.cuda.global.nccl.ncclGetUniqueId;
import static org.bytedeco.cuda.global.nccl.ncclGroupEnd;
import static org.bytedeco.cuda.global.nccl.ncclGroupStart;
import static org.bytedeco.cuda.global.nccl.ncclInProgress;
import static org.bytedeco.cuda.global.nccl.ncclSuccess;

import io.brazier.tensor.DType;
import java.time.Duration;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.BytePointer;

/** One NCCL communicator, non-blocking: a call returns at once, and its errors are polled. */
final class Nccl {

    /** The value of NCCL's config fields that are left to it. */
    private static final int UNDEFINED = Integer.MIN_VALUE;

    private final String name;
    private final ncclComm handle = new ncclComm();
    private final int rank;
    private final int size;
    private final Duration deadline;

    private Nccl(String name, int rank, int size, Duration deadline) {
        this.name = name;
        this.rank = rank;
        this.size = size;
        this.deadline = deadline;
    }

    /** A new id for {@link #connect}; one rank makes it for all. */
    static byte[] uniqueId() {
        try (ncclUniqueId id = new ncclUniqueId()) {
            require("ncclGetUniqueId", ncclGetUniqueId(id));
            byte[] bytes = new byte[NCCL_UNIQUE_ID_BYTES];
            new BytePointer(id).get(bytes);
            return bytes;
        }
    }

    /** Joins all ranks that have the id; blocks until they have come, at most for the deadline. */
    static Nccl connect(byte[] uniqueId, int rank, int size, Duration deadline) {
        Nccl world = new Nccl("all ranks", rank, size, deadline);
        try (ncclUniqueId id = new ncclUniqueId();
                ncclConfig_t config = config()) {
            new BytePointer(id).put(uniqueId);
            world.settle("ncclCommInitRankConfig", ncclCommInitRankConfig(world.handle, size, id, rank, config));
        }
        return world;
    }

    /**
     * A communicator of some of this one's ranks. Collective among all ranks of this one, in one order.
     *
     * @param color of this rank's part, one of each part; negative when this rank is in none
     * @param key order of ranks within the part
     * @return null when this rank is in no part
     */
    Nccl split(String part, int color, int key, int partRank, int partSize) {
        Nccl split = new Nccl(part, partRank, partSize, deadline);
        boolean member = color >= 0;
        try (ncclConfig_t config = config()) {
            int result = ncclCommSplit(handle, member ? color : NCCL_SPLIT_NOCOLOR, key, split.handle, config);
            settle("ncclCommSplit for " + part, result);
            if (member) {
                // The part joins on its own time, whatever the call said of the whole.
                split.settle("ncclCommSplit for " + part, ncclInProgress);
            }
        }
        return member ? split : null;
    }

    private static ncclConfig_t config() {
        ncclConfig_t config = new ncclConfig_t();
        return config.size(config.sizeof())
                .magic(NCCL_API_MAGIC)
                .version(NCCL_VERSION_CODE)
                .blocking(0)
                .cgaClusterSize(UNDEFINED)
                .minCTAs(UNDEFINED)
                .maxCTAs(UNDEFINED)
                .netName(null)
                .splitShare(UNDEFINED)
                .trafficClass(UNDEFINED)
                .commName(null)
                .collnetEnable(UNDEFINED)
                .CTAPolicy(UNDEFINED)
                .shrinkShare(UNDEFINED)
                .nvlsCTAs(UNDEFINED)
                .nChannelsPerNetPeer(UNDEFINED)
                .nvlinkCentricSched(UNDEFINED)
                .graphUsageMode(UNDEFINED);
    }

    int rank() {
        return rank;
    }

    int size() {
        return size;
    }

    ncclComm handle() {
        return handle;
    }

    /** Runs a call of this communicator and waits until NCCL has taken it. */
    void call(String call, int result) {
        settle(call, result);
    }

    /** A call within {@link #group}, which tells of its errors at the latest at the group's end. */
    void queue(String call, int result) {
        if (result != ncclInProgress) {
            check(call, result);
        }
    }

    /** Calls that make progress together. */
    void group(Runnable calls) {
        require("ncclGroupStart", ncclGroupStart());
        try {
            calls.run();
        } finally {
            settle("ncclGroupEnd", ncclGroupEnd());
        }
    }

    private void settle(String call, int result) {
        long end = System.nanoTime() + deadline.toNanos();
        int state = result;
        int[] polled = new int[1];
        while (state == ncclInProgress || state == ncclSuccess && result == ncclInProgress) {
            require("ncclCommGetAsyncError", ncclCommGetAsyncError(handle, polled));
            state = polled[0];
            if (state == ncclSuccess) {
                return;
            }
            if (System.nanoTime() > end) {
                throw new CudaException(call + " of " + this, state, "not done after " + deadline);
            }
            Thread.onSpinWait();
        }
        check(call, state);
    }

    /** @throws CudaException when an earlier call has failed */
    void poll() {
        int[] state = new int[1];
        require("ncclCommGetAsyncError", ncclCommGetAsyncError(handle, state));
        if (state[0] != ncclInProgress) {
            check("an exchange", state[0]);
        }
    }

    private void check(String call, int result) {
        if (result != ncclSuccess) {
            BytePointer last = ncclGetLastError(handle);
            throw new CudaException(
                    call + " of " + this,
                    result,
                    ncclGetErrorString(result).getString() + (last == null ? "" : ", " + last.getString()));
        }
    }

    private static void require(String call, int result) {
        if (result != ncclSuccess && result != ncclInProgress) {
            throw new CudaException(call, result, ncclGetErrorString(result).getString());
        }
    }

    static int type(DType type) {
        return switch (type) {
            case F32 -> ncclFloat32;
            case F64 -> ncclFloat64;
            case BF16 -> ncclBfloat16;
            case I32, I64 -> throw new IllegalArgumentException("sums over ranks are of floats, not of " + type);
        };
    }

    /** Ends what is in flight, from any thread. */
    void abort() {
        ncclCommAbort(handle);
    }

    /** Returns when all calls have ended on all ranks. */
    void close() {
        settle("ncclCommFinalize", ncclCommFinalize(handle));
        require("ncclCommDestroy", ncclCommDestroy(handle));
    }

    @Override
    public String toString() {
        return "NCCL's communicator of " + name + ", rank " + rank + " of " + size;
    }
}
