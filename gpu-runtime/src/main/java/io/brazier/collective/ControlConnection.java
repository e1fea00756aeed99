package io.brazier.collective;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SocketChannel;
import java.nio.charset.StandardCharsets;
import java.security.MessageDigest;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import javax.crypto.Mac;

/**
 * The connection that every pair of ranks has beside its data: it carries aborts past clogged data, and its end tells that the
 * peer's process is gone. Messages have one size and an HMAC over their number and content.
 */
final class ControlConnection {

    private static final int TEXT_BYTES = 472;
    private static final int CONTENT_BYTES = 8 + TEXT_BYTES;
    private static final int MESSAGE_BYTES = CONTENT_BYTES + Secret.BYTES;

    enum Type {
        /** The sender's shared memory can be mapped. */
        READY,
        /** The sender has mapped the receiver's shared memory. */
        MAPPED,
        /** The group has failed; the text says why. */
        ABORT,
        /** The sender leaves in order. */
        LEAVE
    }

    /** What came in. */
    record Message(Type type, String text) {}

    private final int peer;
    private final SocketChannel channel;
    private final Mac sendMac;
    private final Mac receiveMac;
    private final ByteBuffer in = ByteBuffer.allocate(MESSAGE_BYTES);
    private final AtomicBoolean left = new AtomicBoolean();
    private long numSent;
    private long numReceived;

    /** Takes over the socket. */
    ControlConnection(int peer, SocketChannel channel, Handshake.Session session) {
        this.peer = peer;
        this.channel = channel;
        this.sendMac = session.sending().mac();
        this.receiveMac = session.receiving().mac();
    }

    int peer() {
        return peer;
    }

    SocketChannel channel() {
        return channel;
    }

    /** Whether the peer said that it leaves. */
    boolean left() {
        return left.get();
    }

    /** Sends as far as the socket takes it: a peer that takes not even this will find the connection closed. Any thread. */
    synchronized void send(Type type, String text) {
        byte[] utf8 = text.getBytes(StandardCharsets.UTF_8);
        int length = Math.min(utf8.length, TEXT_BYTES);
        byte[] content = ByteBuffer.allocate(CONTENT_BYTES)
                .putInt(type.ordinal())
                .putInt(length)
                .put(utf8, 0, length)
                .array();
        ByteBuffer message = ByteBuffer.allocate(MESSAGE_BYTES)
                .put(content)
                .put(tag(sendMac, numSent++, content))
                .flip();
        try {
            channel.write(message);
            if (message.hasRemaining()) {
                channel.close();
            }
        } catch (IOException e) {
            // The peer's end is seen by the thread that reads.
        }
    }

    private static byte[] tag(Mac mac, long number, byte[] content) {
        mac.update(ByteBuffer.allocate(Long.BYTES).putLong(number).flip());
        return mac.doFinal(content);
    }

    /**
     * The next message, or null when it is not whole yet.
     *
     * @throws IOException at the end of the connection, or when a message is not the peer's
     */
    Message receive() throws IOException {
        if (channel.read(in) < 0) {
            throw new IOException("the connection ended");
        }
        if (in.hasRemaining()) {
            return null;
        }
        byte[] content = Arrays.copyOf(in.array(), CONTENT_BYTES);
        byte[] tag = Arrays.copyOfRange(in.array(), CONTENT_BYTES, MESSAGE_BYTES);
        in.clear();
        int type = ByteBuffer.wrap(content).getInt();
        int length = ByteBuffer.wrap(content).getInt(Integer.BYTES);
        boolean sound = MessageDigest.isEqual(tag(receiveMac, numReceived++, content), tag)
                && type >= 0
                && type < Type.values().length
                && length >= 0
                && length <= TEXT_BYTES;
        if (!sound) {
            throw new IOException("a control message was altered on the way");
        }
        Message message = new Message(Type.values()[type], new String(content, 8, length, StandardCharsets.UTF_8));
        if (message.type == Type.LEAVE) {
            left.set(true);
        }
        return message;
    }

    void close() {
        try {
            channel.close();
        } catch (IOException e) {
            // The socket is gone either way.
        }
    }
}
