package io.brazier.collective;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Handshake.Claim;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.StandardSocketOptions;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.time.Duration;

/**
 * Opens proven connections to peers' ports; tries again while a port is crowded. A peer's port is open before anybody knows its
 * number, so a port that stays closed is a process that has ended.
 */
final class Dialler {

    private static final int TRY_MILLIS = 2_000;
    private static final long CLOSED_NANOS = 1_000_000_000;
    private static final int MAX_REFUSALS = 20;

    private final Secret secret;
    private final Duration deadline;
    private final long end;
    private final Runnable checkFailure;

    /** @param end of all waiting, in System.nanoTime */
    Dialler(Secret secret, Duration deadline, long end, Runnable checkFailure) {
        this.secret = secret;
        this.deadline = deadline;
        this.end = end;
        this.checkFailure = checkFailure;
    }

    /** A connection with its keys. */
    record Connection(SocketChannel channel, Handshake.Session session) {}

    Connection dial(Endpoint endpoint, Claim claim) throws InterruptedException {
        int refusals = 0;
        long closedSince = 0;
        String last = "it never answered";
        for (long pause = 10; System.nanoTime() < end; pause = Math.min(200, 2 * pause)) {
            checkFailure.run();
            try {
                return tryDial(endpoint, claim);
            } catch (ConnectException e) {
                long now = System.nanoTime();
                closedSince = closedSince == 0 ? now : closedSince;
                if (now - closedSince > CLOSED_NANOS) {
                    throw new CollectiveException(
                            Category.PEER_LOST, who(endpoint, claim) + ": its port is closed; did its process end?", e);
                }
            } catch (EOFException e) {
                closedSince = 0;
                if (++refusals == MAX_REFUSALS) {
                    throw new CollectiveException(
                            Category.AUTHENTICATION,
                            who(endpoint, claim) + ": it refuses this rank; its secret or generation differs, or"
                                    + " another process has claimed rank " + claim.dialler());
                }
            } catch (IOException e) {
                closedSince = 0;
                last = e.toString();
            }
            Thread.sleep(pause);
        }
        throw new CollectiveException(
                Category.TIMEOUT, who(endpoint, claim) + " within " + deadline.toMillis() + " ms: " + last);
    }

    private static String who(Endpoint endpoint, Claim claim) {
        return "rank " + claim.dialler() + " cannot connect to rank " + claim.listener() + " at " + endpoint.address()
                + " port " + endpoint.port();
    }

    private Connection tryDial(Endpoint endpoint, Claim claim) throws IOException {
        SocketChannel channel = SocketChannel.open();
        try {
            int millis = (int) Math.max(1, Math.min(TRY_MILLIS, (end - System.nanoTime()) / 1_000_000));
            InetAddress address = InetAddress.getByName(endpoint.address());
            channel.socket().connect(new InetSocketAddress(address, endpoint.port()), millis);
            channel.socket().setSoTimeout(millis);
            channel.setOption(StandardSocketOptions.TCP_NODELAY, true);
            InputStream in = channel.socket().getInputStream();
            byte[] listenerNonce = Handshake.readGreeting(read(in, Handshake.GREETING_BYTES));
            byte[] own = Secret.nonce(Handshake.NONCE_BYTES);
            if (listenerNonce != null) {
                channel.write(ByteBuffer.wrap(Handshake.claim(secret, claim, listenerNonce, own)));
                byte[] proof = read(in, Handshake.PROOF_BYTES);
                Handshake.Session session = Handshake.finish(secret, claim, listenerNonce, own, proof);
                if (session != null) {
                    channel.configureBlocking(false);
                    return new Connection(channel, session);
                }
            }
            throw new CollectiveException(
                    Category.AUTHENTICATION,
                    who(endpoint, claim) + ": what listens there does not know the job's secret");
        } catch (IOException | RuntimeException e) {
            channel.close();
            throw e;
        }
    }

    private static byte[] read(InputStream in, int bytes) throws IOException {
        byte[] message = in.readNBytes(bytes);
        if (message.length < bytes) {
            throw new EOFException("the connection was closed");
        }
        return message;
    }
}
