package io.brazier.collective;

/** Bytes on their way to or from one peer, moved as far as slots allow at each step. An empty transfer is one empty frame. */
final class Transfer {

    private final boolean sends;
    private final Link link;
    private final int rank;
    private final int peer;
    private final Call call;
    private final long address;
    private final long bytes;
    private long offset;
    private boolean done;

    private Transfer(boolean sends, Link link, int rank, int peer, Call call, long address, long bytes) {
        this.sends = sends;
        this.link = link;
        this.rank = rank;
        this.peer = peer;
        this.call = call;
        this.address = address;
        this.bytes = bytes;
    }

    static Transfer send(Link link, int rank, int peer, Call call, long address, long bytes) {
        return new Transfer(true, link, rank, peer, call, address, bytes);
    }

    static Transfer receive(Link link, int rank, int peer, Call call, long address, long bytes) {
        return new Transfer(false, link, rank, peer, call, address, bytes);
    }

    /** Moves what can be moved now; returns whether anything was. */
    boolean step() {
        boolean moved = false;
        while (!done && (sends ? sendFrame() : receiveFrame())) {
            moved = true;
        }
        return moved;
    }

    private boolean sendFrame() {
        long slot = link.freeSlot();
        if (slot == 0) {
            return false;
        }
        int part = (int) Math.min(Link.SLOT_BYTES, bytes - offset);
        SharedMemory.copy(slot, address + offset, part);
        link.post(call, part);
        advance(part);
        return true;
    }

    private boolean receiveFrame() {
        Call.Frame frame = link.arrived();
        if (frame == null) {
            return false;
        }
        call.verify(frame.call(), rank, peer);
        if (frame.bytes() != Math.min(Link.SLOT_BYTES, bytes - offset)) {
            throw new CollectiveException(
                    CollectiveException.Category.MISMATCH,
                    "rank " + rank + " in " + call + " expects "
                            + Math.min(Link.SLOT_BYTES, bytes - offset) + " more bytes from rank " + peer
                            + ", which sent " + frame.bytes());
        }
        SharedMemory.copy(address + offset, link.payload(), frame.bytes());
        link.release();
        advance(frame.bytes());
        return true;
    }

    private void advance(int part) {
        offset += part;
        done = offset == bytes;
    }

    boolean isDone() {
        return done;
    }

    boolean sends() {
        return sends;
    }

    int peer() {
        return peer;
    }
}
