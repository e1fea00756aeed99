package io.brazier.collective;

import java.nio.file.Path;

/**
 * Memory that one rank's peers write to: its doorbell, then one ring of slots for each sender.
 *
 * @param address where it is mapped in this process
 */
record Inbox(long address, long bytes) {

    private static final int DOORBELL_BYTES = 2 * SharedMemory.LINE;

    private static long bytes(int numSenders) {
        return DOORBELL_BYTES + numSenders * SharedMemoryLink.RING_BYTES;
    }

    /** In this process only. */
    static Inbox anonymous(int numSenders) {
        return new Inbox(SharedMemory.anonymous(bytes(numSenders)), bytes(numSenders));
    }

    /** In a new file. */
    static Inbox create(Path path, int numSenders) {
        return new Inbox(SharedMemory.create(path, bytes(numSenders)), bytes(numSenders));
    }

    /** In a peer's file. */
    static Inbox open(Path path, int numSenders) {
        return new Inbox(SharedMemory.open(path, bytes(numSenders)), bytes(numSenders));
    }

    long doorbell() {
        return address;
    }

    long ring(int sender) {
        return address + DOORBELL_BYTES + sender * SharedMemoryLink.RING_BYTES;
    }

    void unmap() {
        SharedMemory.unmap(address, bytes);
    }
}
