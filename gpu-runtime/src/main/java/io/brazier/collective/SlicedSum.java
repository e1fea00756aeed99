package io.brazier.collective;

import java.util.stream.IntStream;

/**
 * All-reduce, reduce-scatter and all-gather: memory is cut into one slice per rank; each rank collects its slice from all, sums it
 * in rank order and gives the sum to all. A rank moves 2 (n - 1) / n of the bytes, as a ring does, but the order of the sum
 * does not depend on the slice. Slices pass in chunks of a slot, so that sums and copies read what is still in cache: chunk c + 1
 * is on its way while chunk c is summed and the sums of chunk c - 1 come in.
 */
final class SlicedSum {

    private final Progress progress;
    private final Call call;
    private final long address;
    private final long[] begins;
    private final int rank;
    private final int size;
    private final long numChunks;
    private final int[] others;
    private long bytesSent;

    /** @param begins byte offsets of the slices, and the end of the last */
    SlicedSum(Progress progress, Call call, long address, long[] begins) {
        this.progress = progress;
        this.call = call;
        this.address = address;
        this.begins = begins;
        this.rank = progress.rank();
        this.size = progress.size();
        long longest =
                IntStream.range(0, size).mapToLong(this::sliceBytes).max().orElseThrow();
        // An empty call exchanges its header.
        this.numChunks = Math.max(1, (longest + Link.SLOT_BYTES - 1) / Link.SLOT_BYTES);
        // Each rank begins with its neighbour, so that not all send to rank 0 first.
        this.others = IntStream.range(1, size).map(x -> (rank + x) % size).toArray();
    }

    void allReduce(ElementType type) {
        sendParts(0);
        for (long c = 0; c < numChunks; c++) {
            if (c + 1 < numChunks) {
                sendParts(c + 1);
            }
            sumOwn(c, type, true);
            if (c > 0) {
                takeSums(c - 1);
            }
        }
        takeSums(numChunks - 1);
    }

    void reduceScatter(ElementType type) {
        sendParts(0);
        for (long c = 0; c < numChunks; c++) {
            if (c + 1 < numChunks) {
                sendParts(c + 1);
            }
            sumOwn(c, type, false);
        }
    }

    void allGather() {
        sendOwn(0);
        for (long c = 0; c < numChunks; c++) {
            if (c + 1 < numChunks) {
                sendOwn(c + 1);
            }
            takeSums(c);
        }
    }

    private long sliceBytes(int slice) {
        return begins[slice + 1] - begins[slice];
    }

    private long chunkAddress(int slice, long c) {
        return address + begins[slice] + c * Link.SLOT_BYTES;
    }

    /** Bytes of chunk c of a slice; 0 past its end. */
    private int chunkBytes(int slice, long c) {
        return (int) Math.max(0, Math.min(Link.SLOT_BYTES, sliceBytes(slice) - c * Link.SLOT_BYTES));
    }

    private void sendParts(long c) {
        for (int peer : others) {
            post(peer, chunkAddress(peer, c), chunkBytes(peer, c));
        }
    }

    private void sendOwn(long c) {
        for (int peer : others) {
            post(peer, chunkAddress(rank, c), chunkBytes(rank, c));
        }
    }

    private void post(int peer, long from, int bytes) {
        long slot = progress.awaitFreeSlot(peer, call);
        SharedMemory.copy(slot, from, bytes);
        post(peer, bytes);
    }

    private void post(int peer, int bytes) {
        progress.link(peer).post(call, bytes);
        bytesSent += bytes;
    }

    private void sumOwn(long c, ElementType type, boolean gives) {
        int bytes = chunkBytes(rank, c);
        long own = chunkAddress(rank, c);
        long[] from = new long[size];
        from[rank] = own;
        for (int peer : others) {
            progress.awaitFrame(peer, call, bytes);
            from[peer] = progress.link(peer).payload();
        }
        long[] to = new long[gives ? size : 1];
        to[0] = own;
        for (int x = 1; x < to.length; x++) {
            to[x] = progress.awaitFreeSlot(others[x - 1], call);
        }
        SharedMemory.sum(type.ordinal(), to, from, bytes / type.bytes());
        for (int x = 1; x < to.length; x++) {
            post(others[x - 1], bytes);
        }
        for (int peer : others) {
            progress.link(peer).release();
        }
    }

    private void takeSums(long c) {
        for (int peer : others) {
            int bytes = chunkBytes(peer, c);
            progress.awaitFrame(peer, call, bytes);
            SharedMemory.copy(chunkAddress(peer, c), progress.link(peer).payload(), bytes);
            progress.link(peer).release();
        }
    }

    long bytesSent() {
        return bytesSent;
    }
}
