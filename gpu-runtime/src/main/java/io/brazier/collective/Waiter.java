package io.brazier.collective;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.channels.Selector;

/** How a communicator's thread sleeps: at its doorbell, which shared-memory peers ring, and at its sockets. */
final class Waiter {

    /** With both kinds of peers the doorbell is slept at, and the sockets are looked at this often. */
    private static final long MIXED_NANOS = 100_000;

    private final long doorbell;
    private final Selector selector;
    private final boolean sharedPeers;
    private boolean closed;

    /** Selector is null where no link is a socket. */
    Waiter(long doorbell, Selector selector, boolean sharedPeers) {
        this.doorbell = doorbell;
        this.selector = selector;
        this.sharedPeers = sharedPeers;
    }

    /** The doorbell's count: take it before looking for what {@link #sleep} would wait for. */
    int seen() {
        return SharedMemory.load(doorbell);
    }

    void sleep(int seen, long nanos) {
        try {
            if (selector == null) {
                SharedMemory.sleep(doorbell, seen, nanos);
            } else if (sharedPeers) {
                SharedMemory.sleep(doorbell, seen, Math.min(nanos, MIXED_NANOS));
                selector.selectNow(key -> {});
            } else if (seen() == seen) {
                selector.select(key -> {}, Math.max(1, nanos / 1_000_000));
            }
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }

    /** Ends a sleep. Any thread. */
    synchronized void wake() {
        if (!closed) {
            SharedMemory.ring(doorbell);
            if (selector != null) {
                selector.wakeup();
            }
        }
    }

    /** After this the doorbell's memory may go. */
    synchronized void close() throws IOException {
        closed = true;
        if (selector != null) {
            selector.close();
        }
    }
}
