package io.brazier.collective;

import java.io.IOException;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ConcurrentLinkedQueue;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The thread that admits connections and listens to control connections. Strangers have a second to prove themselves and few
 * places: when these are taken, the oldest is put out, so that a flood passes through at the speed of accepting.
 */
final class Watch {

    private static final Logger LOG = LoggerFactory.getLogger(Watch.class);

    private static final int MAX_PENDING = 256;
    private static final long PENDING_NANOS = 1_000_000_000;
    private static final long TICK_MILLIS = 100;

    /** What happens, told on the watch's thread. */
    interface Events {
        /** Whether a proven claim is wanted; a second one of the same rank is not. */
        boolean admits(Handshake.Claim claim);

        /** An admitted connection, now the receiver's. */
        void connected(SocketChannel channel, Handshake.Session session);

        void received(int peer, ControlConnection.Message message);

        /** The connection ended; the peer had not said that it leaves. */
        void lost(int peer, String how);
    }

    /** A connection that has not proven itself. */
    private static final class Pending {
        private final SocketChannel channel;
        private final byte[] nonce = Secret.nonce(Handshake.NONCE_BYTES);
        private final ByteBuffer claim = ByteBuffer.allocate(Handshake.CLAIM_BYTES);
        private final long since = System.nanoTime();

        Pending(SocketChannel channel) {
            this.channel = channel;
        }
    }

    private final ServerSocketChannel listener;
    private final Secret secret;
    private final long generation;
    private final int rank;
    private final Events events;
    private final Selector selector;
    private final Thread thread;
    private final ArrayDeque<Pending> pending = new ArrayDeque<>();
    private final ConcurrentLinkedQueue<ControlConnection> added = new ConcurrentLinkedQueue<>();
    private final List<ControlConnection> controls = new ArrayList<>();
    private volatile boolean listening = true;
    private volatile boolean stopped;

    /** Takes over the listener. */
    Watch(ServerSocketChannel listener, Secret secret, long generation, int rank, Events events) throws IOException {
        this.listener = listener;
        this.secret = secret;
        this.generation = generation;
        this.rank = rank;
        this.events = events;
        this.selector = Selector.open();
        listener.configureBlocking(false);
        listener.register(selector, SelectionKey.OP_ACCEPT);
        this.thread = new Thread(this::run, "brazier-collective-watch-" + rank);
        thread.setDaemon(true);
    }

    void start() {
        thread.start();
    }

    /** Listens to a control connection from now on. */
    void add(ControlConnection control) {
        added.add(control);
        selector.wakeup();
    }

    /** Everybody is here: closes the port and puts strangers out. */
    void stopListening() {
        listening = false;
        selector.wakeup();
    }

    /** Ends the thread and closes all it has. */
    void stop() {
        stopped = true;
        selector.wakeup();
        boolean interrupted = false;
        while (thread.isAlive() && Thread.currentThread() != thread) {
            try {
                thread.join();
            } catch (InterruptedException e) {
                interrupted = true;
            }
        }
        if (interrupted) {
            Thread.currentThread().interrupt();
        }
    }

    private void run() {
        try {
            while (!stopped) {
                // Without strangers nothing has a term, so that idle groups cost nothing.
                selector.select(this::handle, listening ? TICK_MILLIS : 0);
                register();
                dropLate();
                if (!listening && listener.isOpen()) {
                    closeListener();
                }
            }
        } catch (IOException | RuntimeException e) {
            LOG.error("rank {} cannot watch its peers any more", rank, e);
            events.lost(rank, "its own watch failed: " + e);
        } finally {
            closeListener();
            register();
            controls.forEach(ControlConnection::close);
            close(selector);
        }
    }

    private void register() {
        for (ControlConnection control = added.poll(); control != null; control = added.poll()) {
            controls.add(control);
            try {
                // A connection that was admitted here has its key already; registering only changes what is attached.
                control.channel().register(selector, SelectionKey.OP_READ, control);
            } catch (IOException e) {
                events.lost(control.peer(), e.toString());
            }
        }
    }

    private void handle(SelectionKey key) {
        if (!key.isValid()) {
            return;
        }
        if (key.attachment() instanceof ControlConnection control) {
            hear(control);
        } else if (key.attachment() instanceof Pending stranger) {
            admit(key, stranger);
        } else {
            accept();
        }
    }

    private void hear(ControlConnection control) {
        try {
            for (ControlConnection.Message message = control.receive(); message != null; message = control.receive()) {
                events.received(control.peer(), message);
            }
        } catch (IOException e) {
            control.close();
            if (!control.left() && !stopped) {
                events.lost(control.peer(), e.getMessage());
            }
        }
    }

    private void accept() {
        SocketChannel channel = null;
        try {
            channel = listener.accept();
            if (channel == null) {
                return;
            }
            if (pending.size() == MAX_PENDING) {
                close(pending.removeFirst().channel);
            }
            Pending stranger = new Pending(channel);
            channel.configureBlocking(false);
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            channel.write(ByteBuffer.wrap(Handshake.greeting(stranger.nonce)));
            channel.register(selector, SelectionKey.OP_READ, stranger);
            pending.addLast(stranger);
        } catch (IOException e) {
            // A stranger's trouble, or no file descriptors left: the next round tries again.
            LOG.debug("rank {} could not accept a connection: {}", rank, e.toString());
            close(channel);
        }
    }

    private void admit(SelectionKey key, Pending stranger) {
        try {
            int read = stranger.channel.read(stranger.claim);
            if (read >= 0 && stranger.claim.hasRemaining()) {
                return;
            }
            Handshake.Accepted accepted = read < 0
                    ? null
                    : Handshake.accept(secret, generation, rank, stranger.nonce, stranger.claim.array());
            pending.remove(stranger);
            if (accepted == null || !events.admits(accepted.session().claim())) {
                close(stranger.channel);
                return;
            }
            if (accepted.session().claim().purpose() == Handshake.Purpose.DATA) {
                key.cancel();
            }
            stranger.channel.write(ByteBuffer.wrap(accepted.proof()));
            events.connected(stranger.channel, accepted.session());
        } catch (IOException e) {
            pending.remove(stranger);
            close(stranger.channel);
        }
    }

    private void dropLate() {
        long now = System.nanoTime();
        while (!pending.isEmpty() && now - pending.getFirst().since > PENDING_NANOS) {
            close(pending.removeFirst().channel);
        }
    }

    private void closeListener() {
        close(listener);
        pending.forEach(stranger -> close(stranger.channel));
        pending.clear();
    }

    private void close(AutoCloseable resource) {
        try {
            if (resource != null) {
                resource.close();
            }
        } catch (Exception e) {
            LOG.debug("rank {} could not close {}: {}", rank, resource, e.toString());
        }
    }
}
