package io.brazier.collective;

/**
 * A rank's connection with one peer: in each direction a few slots that frames pass through in order. Used by the communicator's
 * thread alone, but for {@link #peerClosed}. A method throws {@link CollectiveException} when what it looks for cannot come any more.
 */
interface Link {

    /** Payload bytes of a slot. */
    int SLOT_BYTES = 256 << 10;

    /**
     * Slots of a direction. The sliced sum has up to four frames on the way (two to be summed, two sums) before it must wait, so
     * fewer would deadlock.
     */
    int NUM_SLOTS = 4;

    /** Address of the payload of the next free outgoing slot, or 0 while all are taken. */
    long freeSlot();

    /** Hands the slot that {@link #freeSlot} gave to the peer. */
    void post(Call call, int bytes);

    /** The next frame that arrived, or null; stays the same until {@link #release}. */
    Call.Frame arrived();

    /** Address of the payload of the frame that arrived. */
    long payload();

    /** Gives the slot of the frame that arrived back. */
    void release();

    /** Moves what the operating system takes or has. */
    void pump();

    /** Whether all that was posted is out of this process's hands. */
    boolean flushed();

    /** Notes that the peer left in order: what it posted may still be read. Any thread. */
    void peerClosed();

    /** Lets go of memory and sockets. */
    void close();
}
