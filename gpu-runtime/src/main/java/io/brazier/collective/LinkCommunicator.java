package io.brazier.collective;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import java.util.function.BiConsumer;
import java.util.function.Consumer;

/** A communicator over one {@link Link} per peer. It turns calls into work for the one thread that uses the links. */
final class LinkCommunicator implements Communicator {

    /** Most bytes that {@link #allGatherBytes} takes from all ranks together. */
    private static final long MAX_GATHERED_BYTES = 256L << 20;

    private final Progress progress;
    private final Worker worker;
    private final Lineage lineage;
    private final AtomicLong bytesSent = new AtomicLong();
    private final long[] sendSequence;
    private final long[] receiveSequence;
    private long collectiveSequence;
    private final Subgroups groups;

    LinkCommunicator(Progress progress, Worker worker, Lineage lineage) {
        this.progress = progress;
        this.worker = worker;
        this.lineage = lineage;
        this.sendSequence = new long[progress.size()];
        this.receiveSequence = new long[progress.size()];
        this.groups = new Subgroups(this, lineage, progress.deadline());
        lineage.family().add(worker);
    }

    @Override
    public int rank() {
        return progress.rank();
    }

    @Override
    public int size() {
        return progress.size();
    }

    @Override
    public Work allReduce(long address, long count, ElementType type) {
        return sum(Kind.ALL_REDUCE, address, count, type, SlicedSum::allReduce);
    }

    @Override
    public Work reduceScatter(long address, long count, ElementType type) {
        requireShards("reduceScatter", count, "elements");
        return sum(Kind.REDUCE_SCATTER, address, count, type, SlicedSum::reduceScatter);
    }

    private Work sum(Kind kind, long address, long count, ElementType type, BiConsumer<SlicedSum, ElementType> action) {
        requireNotNegative("count", count);
        long[] begins = new long[size() + 1];
        for (int r = 0; r <= size(); r++) {
            begins[r] = Math.multiplyExact(Math.multiplyExact(count, (long) r) / size(), (long) type.bytes());
        }
        return sliced(kind, address, begins, type.ordinal(), slices -> action.accept(slices, type));
    }

    @Override
    public Work allGather(long address, long bytes) {
        requireShards("allGather", bytes, "bytes");
        long[] bytesByRank = new long[size()];
        Arrays.fill(bytesByRank, bytes / size());
        return allGather(address, bytesByRank);
    }

    @Override
    public Work allGather(long address, long[] bytesByRank) {
        if (bytesByRank.length != size()) {
            throw new IllegalArgumentException("allGather of parts " + Arrays.toString(bytesByRank)
                    + " bytes: give one size for each of " + size() + " ranks");
        }
        Arrays.stream(bytesByRank).forEach(bytes -> requireNotNegative("bytesByRank", bytes));
        long[] begins = new long[size() + 1];
        for (int r = 0; r < size(); r++) {
            begins[r + 1] = Math.addExact(begins[r], bytesByRank[r]);
        }
        return sliced(Kind.ALL_GATHER, address, begins, Arrays.hashCode(begins), SlicedSum::allGather);
    }

    private void requireShards(String name, long count, String unit) {
        if (count % size() != 0) {
            throw new IllegalArgumentException(
                    name + " of " + count + " " + unit + " over " + size() + " ranks: pad to a multiple of the ranks");
        }
    }

    private Work sliced(Kind kind, long address, long[] begins, int detail, Consumer<SlicedSum> action) {
        return collective(kind, begins[size()], detail, call -> {
            if (size() > 1) {
                SlicedSum slices = new SlicedSum(progress, call, address, begins);
                action.accept(slices);
                bytesSent.addAndGet(slices.bytesSent());
            }
        });
    }

    @Override
    public Work broadcast(long address, long bytes, int root) {
        requireNotNegative("bytes", bytes);
        if (root < 0 || root >= size()) {
            throw new IllegalArgumentException("root " + root + " is none of the ranks 0 to " + (size() - 1));
        }
        return collective(Kind.BROADCAST, bytes, root, call -> {
            long[] send = new long[size()];
            long[] receive = new long[size()];
            Arrays.fill(send, rank() == root ? bytes : 0);
            receive[root] = bytes;
            exchange(call, address, send, new long[size()], address, receive, new long[size()]);
        });
    }

    @Override
    public Work allToAll(long sendAddress, long[] sendBytes, long receiveAddress, long[] receiveBytes) {
        long[] send = sendBytes.clone();
        long[] receive = receiveBytes.clone();
        if (send.length != size() || receive.length != size() || send[rank()] != receive[rank()]) {
            throw new IllegalArgumentException(
                    "allToAll on rank " + rank() + " sends " + Arrays.toString(send) + " bytes and receives "
                            + Arrays.toString(receive) + ": give one size for each of " + size()
                            + " ranks, and for this rank itself the same");
        }
        Arrays.stream(send).forEach(bytes -> requireNotNegative("sendBytes", bytes));
        Arrays.stream(receive).forEach(bytes -> requireNotNegative("receiveBytes", bytes));
        return collective(Kind.ALL_TO_ALL, 0, 0, call -> {
            long[] sendOffsets = offsets(send);
            long[] receiveOffsets = offsets(receive);
            SharedMemory.copy(receiveAddress + receiveOffsets[rank()], sendAddress + sendOffsets[rank()], send[rank()]);
            exchange(call, sendAddress, send, sendOffsets, receiveAddress, receive, receiveOffsets);
        });
    }

    private static long[] offsets(long[] sizes) {
        long[] begin = new long[sizes.length];
        for (int x = 1; x < sizes.length; x++) {
            begin[x] = Math.addExact(begin[x - 1], sizes[x - 1]);
        }
        return begin;
    }

    /** Sends and receives with every peer; a size of 0 still exchanges the call's header. */
    private void exchange(
            Call call, long from, long[] send, long[] sendOffsets, long to, long[] receive, long[] receiveOffsets) {
        List<Transfer> transfers = new ArrayList<>();
        for (int x = 1; x < size(); x++) {
            int next = (rank() + x) % size();
            int previous = (rank() + size() - x) % size();
            transfers.add(Transfer.send(
                    progress.link(next), rank(), next, sized(call, send[next]), from + sendOffsets[next], send[next]));
            transfers.add(Transfer.receive(
                    progress.link(previous),
                    rank(),
                    previous,
                    sized(call, receive[previous]),
                    to + receiveOffsets[previous],
                    receive[previous]));
            bytesSent.addAndGet(send[next]);
        }
        progress.complete(call, transfers);
    }

    /** An all-to-all has a size for each pair. */
    private static Call sized(Call call, long bytes) {
        return call.kind() == Kind.ALL_TO_ALL || call.kind() == Kind.GATHER_BYTES
                ? new Call(call.kind(), call.generation(), call.sequence(), bytes, call.detail())
                : call;
    }

    @Override
    public Work send(long address, long bytes, int peer) {
        return send(Kind.SEND, address, bytes, peer);
    }

    @Override
    public Work receive(long address, long bytes, int peer) {
        return receive(Kind.SEND, address, bytes, peer);
    }

    Work send(Kind kind, long address, long bytes, int peer) {
        return pair(kind, address, bytes, peer, sendSequence);
    }

    Work receive(Kind kind, long address, long bytes, int peer) {
        return pair(kind, address, bytes, peer, receiveSequence);
    }

    private Work pair(Kind kind, long address, long bytes, int peer, long[] sequences) {
        requireNotNegative("bytes", bytes);
        if (peer < 0 || peer >= size() || peer == rank()) {
            throw new IllegalArgumentException(
                    "peer " + peer + " of rank " + rank() + " is no other rank of 0 to " + (size() - 1));
        }
        synchronized (this) {
            Call call = new Call(kind, lineage.generation(), sequences[peer]++, bytes, 0);
            Link link = progress.link(peer);
            if (sequences == receiveSequence) {
                return worker.enqueue(call, Transfer.receive(link, rank(), peer, call, address, bytes));
            }
            bytesSent.addAndGet(bytes);
            return worker.enqueue(call, Transfer.send(link, rank(), peer, call, address, bytes));
        }
    }

    @Override
    public byte[][] allGatherBytes(byte[] mine) {
        byte[] own = mine.clone();
        ByteBuffer lengths =
                ByteBuffer.allocateDirect(Integer.BYTES * (size() + 1)).order(ByteOrder.LITTLE_ENDIAN);
        lengths.putInt(Integer.BYTES * size(), own.length);
        long[] four = new long[size()];
        Arrays.fill(four, Integer.BYTES);
        collective(Kind.GATHER_LENGTHS, Integer.BYTES, 0, call -> {
                    long address = SharedMemory.address(lengths);
                    long[] ownOffset = new long[size()];
                    Arrays.fill(ownOffset, (long) Integer.BYTES * size());
                    exchange(call, address, four, ownOffset, address, four, offsets(four));
                })
                .await();
        lengths.putInt(Integer.BYTES * rank(), own.length);
        long[] receive = new long[size()];
        for (int r = 0; r < size(); r++) {
            receive[r] = lengths.getInt(Integer.BYTES * r);
        }
        long total = Arrays.stream(receive).sum();
        if (Arrays.stream(receive).anyMatch(bytes -> bytes < 0) || total > MAX_GATHERED_BYTES) {
            throw new IllegalArgumentException("allGatherBytes of " + Arrays.toString(receive) + " bytes: at most "
                    + MAX_GATHERED_BYTES + " together, for it is meant for small messages");
        }
        return gather(own, receive, (int) total);
    }

    private byte[][] gather(byte[] own, long[] sizes, int total) {
        long[] begin = offsets(sizes);
        ByteBuffer all = ByteBuffer.allocateDirect(Math.max(1, total));
        all.put((int) begin[rank()], own);
        collective(Kind.GATHER_BYTES, 0, 0, call -> {
                    long address = SharedMemory.address(all);
                    long[] send = new long[size()];
                    long[] sendOffsets = new long[size()];
                    Arrays.fill(send, own.length);
                    Arrays.fill(sendOffsets, begin[rank()]);
                    exchange(call, address, send, sendOffsets, address, sizes, begin);
                })
                .await();
        byte[][] result = new byte[size()][];
        for (int r = 0; r < size(); r++) {
            result[r] = new byte[(int) sizes[r]];
            all.get((int) begin[r], result[r]);
        }
        return result;
    }

    @Override
    public void barrier() {
        long[] none = new long[size()];
        collective(Kind.BARRIER, 0, 0, call -> exchange(call, 0, none, none, 0, none, none))
                .await();
    }

    private static void requireNotNegative(String name, long value) {
        if (value < 0) {
            throw new IllegalArgumentException(name + " " + value + " is negative");
        }
    }

    private synchronized Work collective(Kind kind, long bytes, int detail, Consumer<Call> body) {
        Call call = new Call(kind, lineage.generation(), collectiveSequence++, bytes, detail);
        return worker.enqueue(call, () -> body.accept(call));
    }

    @Override
    public void abort(String reason) {
        worker.fail(new CommunicatorAbortedException(reason + " (rank " + rank() + ")"));
    }

    /** Ends all; returns the first cause. */
    CollectiveException fail(CollectiveException cause) {
        worker.fail(cause);
        return progress.failure();
    }

    @Override
    public Communicator group(String name, int... ranks) {
        return groups.form(Membership.of(name, ranks, rank(), size()));
    }

    @Override
    public Optional<CollectiveException> failure() {
        return Optional.ofNullable(progress.failure());
    }

    @Override
    public long bytesSent() {
        return bytesSent.get() + groups.bytesSent();
    }

    @Override
    public void close() {
        groups.close();
        worker.close();
    }
}
