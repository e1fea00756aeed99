package io.brazier.collective;

import io.brazier.collective.CollectiveException.Category;
import java.io.IOException;
import java.nio.channels.SocketChannel;
import java.time.Duration;
import java.util.Arrays;
import java.util.function.IntPredicate;
import java.util.stream.IntStream;

/**
 * What a rank knows of its peers while the group forms and afterwards: control connections, data sockets, whose memory is mapped,
 * who left. Hears from the {@link Watch}'s thread, is asked by the connecting one.
 */
final class Rendezvous implements Watch.Events, Control {

    private final int rank;
    private final boolean[] shared;
    private final ControlConnection[] controls;
    private final SocketChannel[] data;
    private final Handshake.Session[] dataSessions;
    private final boolean[] ready;
    private final boolean[] mapped;
    private final boolean[] left;
    private Watch watch;
    private Links links;
    private CollectiveException failure;

    /** Where news go once the communicator runs. */
    interface Links {
        void fail(CollectiveException cause);

        void left(int peer);
    }

    /** @param shared by peer: whether data passes through shared memory; true at rank */
    Rendezvous(int rank, boolean[] shared) {
        this.rank = rank;
        this.shared = shared;
        int size = shared.length;
        this.controls = new ControlConnection[size];
        this.data = new SocketChannel[size];
        this.dataSessions = new Handshake.Session[size];
        this.ready = new boolean[size];
        this.mapped = new boolean[size];
        this.left = new boolean[size];
    }

    int rank() {
        return rank;
    }

    boolean shares(int peer) {
        return shared[peer];
    }

    synchronized void watch(Watch started) {
        watch = started;
    }

    @Override
    public synchronized boolean admits(Handshake.Claim claim) {
        int peer = claim.dialler();
        // Higher ranks dial lower ones, so a claim of this or a lower rank is nobody's.
        if (peer <= rank || peer >= controls.length) {
            return false;
        }
        return switch (claim.purpose()) {
            case CONTROL -> controls[peer] == null;
            case DATA -> data[peer] == null && !shared[peer];
        };
    }

    @Override
    public void connected(SocketChannel channel, Handshake.Session session) {
        keep(session.claim().dialler(), channel, session);
    }

    /** Keeps a proven connection with a peer. */
    synchronized void keep(int peer, SocketChannel channel, Handshake.Session session) {
        switch (session.claim().purpose()) {
            case CONTROL -> {
                controls[peer] = new ControlConnection(peer, channel, session);
                watch.add(controls[peer]);
            }
            case DATA -> {
                data[peer] = channel;
                dataSessions[peer] = session;
            }
        }
        notifyAll();
    }

    @Override
    public void received(int peer, ControlConnection.Message message) {
        switch (message.type()) {
            case READY -> mark(ready, peer);
            case MAPPED -> mark(mapped, peer);
            case LEAVE -> {
                mark(left, peer);
                Links told = links();
                if (told != null) {
                    told.left(peer);
                }
            }
            case ABORT -> fail(new CommunicatorAbortedException(message.text()));
        }
    }

    private synchronized void mark(boolean[] flags, int peer) {
        flags[peer] = true;
        notifyAll();
    }

    @Override
    public void lost(int peer, String how) {
        fail(new CollectiveException(
                Category.PEER_LOST, "rank " + rank + " lost rank " + peer + " (" + how + "): did its process end?"));
    }

    private void fail(CollectiveException cause) {
        Links told;
        synchronized (this) {
            if (failure == null) {
                failure = cause;
            }
            notifyAll();
            told = links;
        }
        if (told != null) {
            told.fail(cause);
        }
    }

    /** Fails the group unless the communicator has been made. */
    void giveUp(String reason) {
        if (links() == null) {
            fail(new CommunicatorAbortedException(reason));
        }
    }

    private synchronized Links links() {
        return links;
    }

    /** From now on news go to the communicator, with those that came before. */
    void tell(Links communicator) {
        CollectiveException missed;
        boolean[] gone;
        synchronized (this) {
            links = communicator;
            missed = failure;
            gone = left.clone();
        }
        IntStream.range(0, gone.length).filter(peer -> gone[peer]).forEach(communicator::left);
        if (missed != null) {
            communicator.fail(missed);
        }
    }

    /** Waits until every peer has all its connections. */
    void awaitConnections(long end, Duration deadline) throws InterruptedException {
        await(end, deadline, "to connect", peer -> controls[peer] != null && (shared[peer] || data[peer] != null));
    }

    void awaitReady(int peer, long end, Duration deadline) throws InterruptedException {
        await(end, deadline, "to offer its shared memory", other -> other != peer || ready[peer]);
    }

    void awaitMapped(long end, Duration deadline) throws InterruptedException {
        await(end, deadline, "to map shared memory", peer -> !shared[peer] || mapped[peer]);
    }

    private synchronized void await(long end, Duration deadline, String what, IntPredicate condition)
            throws InterruptedException {
        while (true) {
            if (failure != null) {
                throw failure.again();
            }
            int[] missing = IntStream.range(0, controls.length)
                    .filter(peer -> peer != rank && !condition.test(peer))
                    .toArray();
            if (missing.length == 0) {
                return;
            }
            long millis = (end - System.nanoTime()) / 1_000_000;
            if (millis <= 0) {
                throw new CollectiveException(
                        Category.TIMEOUT,
                        "rank " + rank + " waited " + deadline.toMillis() + " ms for ranks " + Arrays.toString(missing)
                                + " " + what);
            }
            wait(millis);
        }
    }

    synchronized void checkFailure() {
        if (failure != null) {
            throw failure.again();
        }
    }

    synchronized SocketChannel dataChannel(int peer) {
        return data[peer];
    }

    synchronized Handshake.Session dataSession(int peer) {
        return dataSessions[peer];
    }

    void send(int peer, ControlConnection.Type type, String text) {
        ControlConnection control;
        synchronized (this) {
            control = controls[peer];
        }
        if (control != null) {
            control.send(type, text);
        }
    }

    private void sendAll(ControlConnection.Type type, String text) {
        for (int peer = 0; peer < controls.length; peer++) {
            if (peer != rank) {
                send(peer, type, text);
            }
        }
    }

    @Override
    public void abort(String reason) {
        sendAll(ControlConnection.Type.ABORT, reason);
    }

    @Override
    public void close() {
        sendAll(ControlConnection.Type.LEAVE, "");
        watch.stop();
    }

    /** Ends a group that did not form: peers see this rank lost. */
    void cancel(String reason) {
        abort(String.valueOf(reason));
        if (watch != null) {
            watch.stop();
        }
        synchronized (this) {
            for (SocketChannel channel : data) {
                try {
                    if (channel != null) {
                        channel.close();
                    }
                } catch (IOException e) {
                    // The socket is gone either way.
                }
            }
        }
    }
}
