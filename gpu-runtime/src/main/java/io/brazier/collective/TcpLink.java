package io.brazier.collective;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.SocketChannel;

/**
 * Frames through a socket: header, its tag, payload, its tag (none for an empty payload). Outgoing slots are staged here until the
 * socket takes them, so a full socket does not stop the rank that sends.
 */
final class TcpLink implements Link {

    private static final int PAYLOAD_AT = Call.Frame.BYTES + FrameSeal.TAG_BYTES;
    private static final int SLOT = PAYLOAD_AT + SLOT_BYTES + FrameSeal.TAG_BYTES;
    private static final long MEMORY_BYTES = (NUM_SLOTS + 1L) * SLOT;

    private final int peer;
    private final SocketChannel channel;
    private final SelectionKey key;
    private final FrameSeal sendSeal;
    private final FrameSeal receiveSeal;
    private final long memory;
    private final ByteBuffer[] out = new ByteBuffer[NUM_SLOTS];
    private final ByteBuffer in;
    private long posted;
    private long written;
    private Call.Frame header;
    private boolean complete;
    private boolean wantsRead;

    /** Takes over the socket. */
    TcpLink(int peer, SocketChannel channel, Handshake.Session session, Selector selector) throws IOException {
        this.peer = peer;
        this.channel = channel;
        channel.configureBlocking(false);
        this.key = channel.register(selector, 0);
        this.sendSeal = new FrameSeal(session.sending());
        this.receiveSeal = new FrameSeal(session.receiving());
        this.memory = SharedMemory.anonymous(MEMORY_BYTES);
        for (int x = 0; x < NUM_SLOTS; x++) {
            out[x] = SharedMemory.view(memory + (long) x * SLOT, SLOT);
        }
        this.in = SharedMemory.view(memory + (long) NUM_SLOTS * SLOT, SLOT).limit(PAYLOAD_AT);
    }

    private int slotIndex(long count) {
        return (int) (count % NUM_SLOTS);
    }

    @Override
    public long freeSlot() {
        if (posted - written == NUM_SLOTS) {
            pump();
        }
        return posted - written < NUM_SLOTS ? memory + (long) slotIndex(posted) * SLOT + PAYLOAD_AT : 0;
    }

    @Override
    public void post(Call call, int bytes) {
        ByteBuffer slot = out[slotIndex(posted)];
        new Call.Frame(call, bytes).write(slot.clear());
        slot.put(Call.Frame.BYTES, sendSeal.header(slot));
        if (bytes > 0) {
            long payload = memory + (long) slotIndex(posted) * SLOT + PAYLOAD_AT;
            slot.put(PAYLOAD_AT + bytes, sendSeal.payload(payload, bytes));
        }
        slot.limit(wireBytes(bytes));
        posted++;
        pump();
    }

    private static int wireBytes(int payloadBytes) {
        return PAYLOAD_AT + payloadBytes + (payloadBytes > 0 ? FrameSeal.TAG_BYTES : 0);
    }

    @Override
    public void pump() {
        if (flushed()) {
            return;
        }
        try {
            while (written < posted) {
                ByteBuffer slot = out[slotIndex(written)];
                channel.write(slot);
                if (slot.hasRemaining()) {
                    break;
                }
                written++;
            }
        } catch (IOException e) {
            throw lost(e);
        }
        setInterest();
    }

    private void setInterest() {
        int ops = (wantsRead ? SelectionKey.OP_READ : 0) | (written < posted ? SelectionKey.OP_WRITE : 0);
        if (key.interestOps() != ops) {
            key.interestOps(ops);
        }
    }

    @Override
    public Call.Frame arrived() {
        if (!complete) {
            complete = readFrame();
            wantsRead = !complete;
            setInterest();
        }
        return complete ? header : null;
    }

    /** Reads on; true when the frame is whole and its tags fit. */
    private boolean readFrame() {
        if (header == null) {
            if (!fill()) {
                return false;
            }
            FrameSeal.check(receiveSeal.header(in), in, Call.Frame.BYTES, peer);
            header = Call.Frame.read(in, SLOT_BYTES, peer);
            in.limit(wireBytes(header.bytes()));
        }
        if (!fill()) {
            return false;
        }
        if (header.bytes() > 0) {
            FrameSeal.check(receiveSeal.payload(payload(), header.bytes()), in, PAYLOAD_AT + header.bytes(), peer);
        }
        return true;
    }

    /** Reads up to the buffer's limit; false when the socket has no more now. */
    private boolean fill() {
        try {
            while (in.hasRemaining()) {
                int read = channel.read(in);
                if (read < 0) {
                    throw lost(null);
                }
                if (read == 0) {
                    return false;
                }
            }
            return true;
        } catch (IOException e) {
            throw lost(e);
        }
    }

    private CollectiveException lost(IOException cause) {
        String how = cause == null ? "closed its connection" : "is lost: " + cause.getMessage();
        return new CollectiveException(CollectiveException.Category.PEER_LOST, "rank " + peer + " " + how, cause);
    }

    @Override
    public long payload() {
        return memory + (long) NUM_SLOTS * SLOT + PAYLOAD_AT;
    }

    @Override
    public void release() {
        header = null;
        complete = false;
        in.clear().limit(PAYLOAD_AT);
    }

    @Override
    public boolean flushed() {
        return written == posted;
    }

    /** The socket's own end comes after the last frame. */
    @Override
    public void peerClosed() {}

    @Override
    public void close() {
        try {
            channel.close();
        } catch (IOException e) {
            // The socket is gone either way.
        }
        SharedMemory.unmap(memory, MEMORY_BYTES);
    }
}
