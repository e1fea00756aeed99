package io.brazier.collective;

import java.time.Duration;
import java.util.List;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.BooleanSupplier;
import java.util.function.Supplier;

/** Waiting on the communicator's thread: bounded, ended by a failure from anywhere, never holding a core for long. */
final class Progress {

    /** A neighbour's chunk takes about this long; after it the core belongs to the computing thread. */
    private static final long SPIN_NANOS = 10_000;

    private final int rank;
    private final Link[] links;
    private final Waiter waiter;
    private final Duration deadline;
    private final AtomicReference<CollectiveException> failure = new AtomicReference<>();

    /** links[rank] is null. */
    Progress(int rank, Link[] links, Waiter waiter, Duration deadline) {
        this.rank = rank;
        this.links = links;
        this.waiter = waiter;
        this.deadline = deadline;
    }

    int rank() {
        return rank;
    }

    int size() {
        return links.length;
    }

    Duration deadline() {
        return deadline;
    }

    Link link(int peer) {
        return links[peer];
    }

    /** Ends all waits; the first cause stays. Any thread. Returns whether this was the first. */
    boolean fail(CollectiveException cause) {
        boolean first = failure.compareAndSet(null, cause);
        waiter.wake();
        return first;
    }

    /** The first failure, or null. */
    CollectiveException failure() {
        return failure.get();
    }

    void checkFailure() {
        CollectiveException cause = failure.get();
        if (cause != null) {
            throw cause.again();
        }
    }

    /**
     * Returns once the condition holds.
     *
     * @param what says who waits for whom, for the error at the deadline
     */
    void await(BooleanSupplier condition, Supplier<String> what) {
        long begin = System.nanoTime();
        while (true) {
            int seen = waiter.seen();
            checkFailure();
            for (Link link : links) {
                if (link != null) {
                    link.pump();
                }
            }
            if (condition.getAsBoolean()) {
                return;
            }
            long waited = System.nanoTime() - begin;
            if (waited > deadline.toNanos()) {
                throw new CollectiveException(
                        CollectiveException.Category.TIMEOUT,
                        what.get() + ", which did not move for " + deadline.toMillis() + " ms");
            }
            if (waited < SPIN_NANOS) {
                Thread.onSpinWait();
            } else {
                waiter.sleep(seen, deadline.toNanos() - waited + 1);
            }
        }
    }

    long awaitFreeSlot(int peer, Call call) {
        long slot = links[peer].freeSlot();
        if (slot != 0) {
            checkFailure();
            return slot;
        }
        long[] found = new long[1];
        await(() -> (found[0] = links[peer].freeSlot()) != 0, () -> waitsFor(call, "rank " + peer));
        return found[0];
    }

    /** Waits for peer's next frame, which must belong to the call and have this size. */
    void awaitFrame(int peer, Call call, int bytes) {
        Link link = links[peer];
        if (link.arrived() == null) {
            await(() -> link.arrived() != null, () -> waitsFor(call, "rank " + peer));
        }
        call.verify(link.arrived().call(), rank, peer);
        if (link.arrived().bytes() != bytes) {
            throw new CollectiveException(
                    CollectiveException.Category.MISMATCH,
                    "rank " + rank + " in " + call + " expects a frame of " + bytes + " bytes, but rank " + peer
                            + " sent " + link.arrived().bytes());
        }
    }

    /** Moves all transfers to their ends. */
    void complete(Call call, List<Transfer> transfers) {
        while (!transfers.stream().allMatch(Transfer::isDone)) {
            await(
                    () -> {
                        boolean moved = false;
                        for (Transfer transfer : transfers) {
                            moved |= transfer.step();
                        }
                        return moved;
                    },
                    () -> waitsFor(
                            call,
                            "ranks "
                                    + transfers.stream()
                                            .filter(transfer -> !transfer.isDone())
                                            .map(Transfer::peer)
                                            .distinct()
                                            .toList()));
        }
    }

    String waitsFor(Call call, String whom) {
        return call + " on rank " + rank + " waits for " + whom;
    }

    boolean flushed() {
        for (Link link : links) {
            if (link != null && !link.flushed()) {
                return false;
            }
        }
        return true;
    }

    void close() {
        for (Link link : links) {
            if (link != null) {
                link.close();
            }
        }
    }
}
