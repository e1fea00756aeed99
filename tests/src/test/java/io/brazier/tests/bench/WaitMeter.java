package io.brazier.tests.bench;

import io.brazier.collective.CollectiveException;
import io.brazier.collective.Communicator;
import io.brazier.collective.ElementType;
import io.brazier.collective.Work;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;

/** A communicator that adds up for how long its caller, on this group and those made of it, waits for calls to be done. */
final class WaitMeter implements Communicator {
    private final Communicator measured;
    private final AtomicLong nanos;

    WaitMeter(Communicator measured) {
        this(measured, new AtomicLong());
    }

    private WaitMeter(Communicator measured, AtomicLong nanos) {
        this.measured = measured;
        this.nanos = nanos;
    }

    double seconds() {
        return nanos.get() / 1e9;
    }

    private Work timed(Work work) {
        return new Work() {
            @Override
            public void await() {
                long start = System.nanoTime();
                work.await();
                nanos.addAndGet(System.nanoTime() - start);
            }

            @Override
            public boolean isDone() {
                return work.isDone();
            }
        };
    }

    @Override
    public int rank() {
        return measured.rank();
    }

    @Override
    public int size() {
        return measured.size();
    }

    @Override
    public Work allReduce(long address, long count, ElementType type) {
        return timed(measured.allReduce(address, count, type));
    }

    @Override
    public Work reduceScatter(long address, long count, ElementType type) {
        return timed(measured.reduceScatter(address, count, type));
    }

    @Override
    public Work allGather(long address, long bytes) {
        return timed(measured.allGather(address, bytes));
    }

    @Override
    public Work allGather(long address, long[] bytesByRank) {
        return timed(measured.allGather(address, bytesByRank));
    }

    @Override
    public Work broadcast(long address, long bytes, int root) {
        return timed(measured.broadcast(address, bytes, root));
    }

    @Override
    public Work send(long address, long bytes, int peer) {
        return timed(measured.send(address, bytes, peer));
    }

    @Override
    public Work receive(long address, long bytes, int peer) {
        return timed(measured.receive(address, bytes, peer));
    }

    @Override
    public Work allToAll(long sendAddress, long[] sendBytes, long receiveAddress, long[] receiveBytes) {
        return timed(measured.allToAll(sendAddress, sendBytes, receiveAddress, receiveBytes));
    }

    @Override
    public byte[][] allGatherBytes(byte[] mine) {
        return measured.allGatherBytes(mine);
    }

    @Override
    public void barrier() {
        measured.barrier();
    }

    @Override
    public void abort(String reason) {
        measured.abort(reason);
    }

    @Override
    public Communicator group(String name, int... ranks) {
        return new WaitMeter(measured.group(name, ranks), nanos);
    }

    @Override
    public Optional<CollectiveException> failure() {
        return measured.failure();
    }

    @Override
    public long bytesSent() {
        return measured.bytesSent();
    }

    @Override
    public void close() {
        measured.close();
    }
}
