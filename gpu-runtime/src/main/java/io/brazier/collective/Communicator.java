package io.brazier.collective;

import java.util.Optional;

/**
 * One rank's end of a group of ranks that exchange memory. Addresses are those of native memory which stays valid until the
 * {@link Work} is done and is touched by nobody else meanwhile. Calls return at once and run on the communicator's own thread in
 * call order; neighbouring sends and receives make progress together. Every rank makes the same collective calls with the same
 * sizes in the same order: a difference fails with {@link CollectiveException}, naming both sides. Any failure ends the
 * communicator: everything in flight and later fails too, on all ranks.
 *
 * <p>Sums run in rank order: y = ((x_0 + x_1) + x_2) + ..., whatever the transport, so that all ranks hold equal bits and repeats
 * give equal bits: in f32 or f64, and of bf16 in f32, rounded once at the end.
 */
public interface Communicator extends AutoCloseable {

    int rank();

    /** Number of ranks. */
    int size();

    /** x [count], in place: the sum over ranks. */
    Work allReduce(long address, long count, ElementType type);

    /**
     * x [count], in place: the sum over ranks of this rank's shard, which begins at element rank * count / size. The rest of x
     * keeps this rank's own values. count must be a multiple of size.
     */
    Work reduceScatter(long address, long count, ElementType type);

    /** In place: each rank gives its shard, which begins at byte rank * bytes / size; all receive all. */
    Work allGather(long address, long bytes);

    /** In place: rank r gives bytesByRank[r] bytes; the parts lie back to back in rank order. All ranks give the same sizes. */
    Work allGather(long address, long[] bytesByRank);

    /** Copies the root's bytes to all ranks. */
    Work broadcast(long address, long bytes, int root);

    /** Gives bytes to peer, which receives as many. */
    Work send(long address, long bytes, int peer);

    /** Takes bytes that peer sends. */
    Work receive(long address, long bytes, int peer);

    /**
     * Gives sendBytes[r] bytes to each rank r and takes receiveBytes[r] from it; the parts lie back to back in rank order. Both
     * arrays have one entry per rank, this one included. The two areas do not overlap.
     */
    Work allToAll(long sendAddress, long[] sendBytes, long receiveAddress, long[] receiveBytes);

    /** Small arrays, of any sizes, from all to all; returns them by rank. Blocks. */
    byte[][] allGatherBytes(byte[] mine);

    /** Returns when every rank has called it. */
    void barrier();

    /**
     * Ends the group from any thread, as often as one likes: what is in flight or comes later fails with
     * {@link CommunicatorAbortedException} here and on all peers.
     */
    void abort(String reason);

    /**
     * A communicator of some of this one's ranks, this rank among them; blocks until all members have called. Every member calls it
     * with equal arguments and, among the groups it is a member of, in one order that all ranks follow; others do not call. A
     * group has its own thread and order of calls, so calls on different groups never wait for each other. A failure or
     * {@link #abort} of one ends all: this communicator and all its groups on all its ranks. Errors name the group and its ranks
     * here, then count ranks as the group does.
     *
     * @param name unlike this rank's other groups, for errors
     * @param ranks of this communicator; rank ranks[r] becomes rank r of the group
     * @throws IllegalArgumentException when the name is taken, or ranks holds no subset with this rank
     * @throws CollectiveException when members call different things or do not come
     */
    Communicator group(String name, int... ranks);

    /** Why this communicator has ended, if a failure ended it. Any thread. */
    Optional<CollectiveException> failure();

    /** Payload bytes given to peers so far, in this communicator and its groups. */
    long bytesSent();

    /** Closes the groups, finishes what was called, then lets the peers go. Peers that still wait for this rank see it lost. */
    @Override
    void close();
}
