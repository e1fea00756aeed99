package io.brazier.collective;

import java.nio.ByteBuffer;

/** Frames through two rings of slots that both processes have mapped. */
final class SharedMemoryLink implements Link {

    private static final int HEADER = SharedMemory.LINE;

    /** A ring: the count of posted slots (the sender writes), that of released ones (the receiver writes), the slots. */
    static final long RING_BYTES = 2L * SharedMemory.LINE + (long) NUM_SLOTS * (HEADER + SLOT_BYTES);

    private final int peer;
    private final Ring out;
    private final Ring in;
    private final long peerDoorbell;
    private final Runnable release;
    private int posted;
    private int released;
    private Call.Frame frame;
    private volatile boolean peerClosed;

    /**
     * @param out address of the ring to the peer
     * @param in address of the ring from the peer
     * @param release lets go of the memory
     */
    SharedMemoryLink(int peer, long out, long in, long peerDoorbell, Runnable release) {
        this.peer = peer;
        this.out = new Ring(out);
        this.in = new Ring(in);
        this.peerDoorbell = peerDoorbell;
        this.release = release;
    }

    private static final class Ring {
        private final long address;
        private final ByteBuffer[] headers = new ByteBuffer[NUM_SLOTS];

        Ring(long address) {
            this.address = address;
            for (int x = 0; x < NUM_SLOTS; x++) {
                headers[x] = SharedMemory.view(payload(x) - HEADER, HEADER);
            }
        }

        long postedCount() {
            return address;
        }

        long releasedCount() {
            return address + SharedMemory.LINE;
        }

        ByteBuffer header(int count) {
            return headers[Math.floorMod(count, NUM_SLOTS)];
        }

        long payload(int count) {
            long slot = Math.floorMod(count, NUM_SLOTS) * (long) (HEADER + SLOT_BYTES);
            return address + 2L * SharedMemory.LINE + slot + HEADER;
        }
    }

    @Override
    public long freeSlot() {
        boolean last = peerClosed;
        if (posted - SharedMemory.load(out.releasedCount()) < NUM_SLOTS) {
            return out.payload(posted);
        }
        if (last) {
            throw lost();
        }
        return 0;
    }

    @Override
    public void post(Call call, int bytes) {
        new Call.Frame(call, bytes).write(out.header(posted));
        posted++;
        SharedMemory.store(out.postedCount(), posted);
        SharedMemory.ring(peerDoorbell);
    }

    @Override
    public Call.Frame arrived() {
        if (frame == null) {
            boolean last = peerClosed;
            if (SharedMemory.load(in.postedCount()) != released) {
                frame = Call.Frame.read(in.header(released), SLOT_BYTES, peer);
            } else if (last) {
                throw lost();
            }
        }
        return frame;
    }

    private CollectiveException lost() {
        return new CollectiveException(
                CollectiveException.Category.PEER_LOST, "rank " + peer + " closed its communicator before this call");
    }

    @Override
    public long payload() {
        return in.payload(released);
    }

    @Override
    public void release() {
        frame = null;
        released++;
        SharedMemory.store(in.releasedCount(), released);
        // The sender sleeps for a slot only when all were taken. If it takes the last one after this look, it sees the
        // release.
        if (SharedMemory.load(in.postedCount()) - (released - 1) >= NUM_SLOTS) {
            SharedMemory.ring(peerDoorbell);
        }
    }

    @Override
    public void pump() {}

    @Override
    public boolean flushed() {
        return true;
    }

    @Override
    public void peerClosed() {
        peerClosed = true;
    }

    @Override
    public void close() {
        release.run();
    }
}
