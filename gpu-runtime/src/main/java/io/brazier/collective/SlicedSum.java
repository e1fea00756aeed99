package io.brazier.collective;

import java.util.stream.IntStream;

/**
 * All-reduce, reduce-scatter and all-gather: the elements are cut into one slice per rank; each rank collects its slice from all,
 * sums it in rank order and gives the sum to all. A rank moves 2 (n - 1) / n of the bytes, as a ring does, but the order of the sum
 * does not depend on the slice. Slices pass in chunks of a slot, so that sums and copies read what is still in cache: chunk c + 1
 * is on its way while chunk c is summed and the sums of chunk c - 1 come in.
 */
final class SlicedSum {

    private static final int ELEMENTS = Link.SLOT_BYTES / Float.BYTES;

    private final Progress progress;
    private final Call call;
    private final long address;
    private final long count;
    private final int rank;
    private final int size;
    private final long numChunks;
    private final int[] others;
    private long bytesSent;

    SlicedSum(Progress progress, Call call, long address, long count) {
        this.progress = progress;
        this.call = call;
        this.address = address;
        this.count = count;
        this.rank = progress.rank();
        this.size = progress.size();
        long longest = (count + size - 1) / size;
        this.numChunks = Math.max(1, (longest + ELEMENTS - 1) / ELEMENTS);
        // Each rank begins with its neighbour, so that not all send to rank 0 first.
        this.others = IntStream.range(1, size).map(x -> (rank + x) % size).toArray();
    }

    void allReduce() {
        sendParts(0);
        for (long c = 0; c < numChunks; c++) {
            if (c + 1 < numChunks) {
                sendParts(c + 1);
            }
            sumOwn(c, true);
            if (c > 0) {
                takeSums(c - 1);
            }
        }
        takeSums(numChunks - 1);
    }

    void reduceScatter() {
        sendParts(0);
        for (long c = 0; c < numChunks; c++) {
            if (c + 1 < numChunks) {
                sendParts(c + 1);
            }
            sumOwn(c, false);
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

    private long sliceBegin(int slice) {
        return Math.multiplyExact(count, (long) slice) / size;
    }

    private long chunkAddress(int slice, long c) {
        return address + Float.BYTES * (sliceBegin(slice) + c * ELEMENTS);
    }

    /** Elements of chunk c of a slice; 0 past its end. */
    private int chunkElements(int slice, long c) {
        long left = sliceBegin(slice + 1) - sliceBegin(slice) - c * ELEMENTS;
        return (int) Math.max(0, Math.min(ELEMENTS, left));
    }

    private void sendParts(long c) {
        for (int peer : others) {
            post(peer, chunkAddress(peer, c), chunkElements(peer, c));
        }
    }

    private void sendOwn(long c) {
        for (int peer : others) {
            post(peer, chunkAddress(rank, c), chunkElements(rank, c));
        }
    }

    private void post(int peer, long from, int elements) {
        long slot = progress.awaitFreeSlot(peer, call);
        SharedMemory.copy(slot, from, (long) elements * Float.BYTES);
        post(peer, elements);
    }

    private void post(int peer, int elements) {
        progress.link(peer).post(call, elements * Float.BYTES);
        bytesSent += (long) elements * Float.BYTES;
    }

    private void sumOwn(long c, boolean gives) {
        int elements = chunkElements(rank, c);
        long own = chunkAddress(rank, c);
        long[] from = new long[size];
        from[rank] = own;
        for (int peer : others) {
            progress.awaitFrame(peer, call, elements * Float.BYTES);
            from[peer] = progress.link(peer).payload();
        }
        long[] to = new long[gives ? size : 1];
        to[0] = own;
        for (int x = 1; x < to.length; x++) {
            to[x] = progress.awaitFreeSlot(others[x - 1], call);
        }
        SharedMemory.sum(to, from, elements);
        for (int x = 1; x < to.length; x++) {
            post(others[x - 1], elements);
        }
        for (int peer : others) {
            progress.link(peer).release();
        }
    }

    private void takeSums(long c) {
        for (int peer : others) {
            int bytes = chunkElements(peer, c) * Float.BYTES;
            progress.awaitFrame(peer, call, bytes);
            SharedMemory.copy(chunkAddress(peer, c), progress.link(peer).payload(), bytes);
            progress.link(peer).release();
        }
    }

    long bytesSent() {
        return bytesSent;
    }
}
