package io.brazier.collective;

import java.nio.ByteBuffer;

/**
 * What heads every frame, so that ranks which call different things find out.
 *
 * @param generation attempt of the job
 * @param sequence index of the call: over the group, for sends over the pair
 * @param bytes size of the whole call
 * @param detail root of a broadcast, type of a sum, hash of an all-gather's sizes, otherwise 0
 */
record Call(Kind kind, long generation, long sequence, long bytes, int detail) {

    /** A call's header and the number of its payload bytes in this frame. */
    record Frame(Call call, int bytes) {

        static final int BYTES = 40;

        void write(ByteBuffer to) {
            to.putLong(0, call.generation)
                    .putLong(8, call.sequence)
                    .putLong(16, call.bytes)
                    .putInt(24, call.kind.ordinal())
                    .putInt(28, call.detail)
                    .putInt(32, bytes)
                    .putInt(36, 0);
        }

        /** Reads a header; refuses sizes that no frame has, before anything is done with them. */
        static Frame read(ByteBuffer from, int maxBytes, int peer) {
            Kind kind = Kind.of(from.getInt(24));
            int bytes = from.getInt(32);
            if (kind == null || bytes < 0 || bytes > maxBytes || from.getLong(16) < 0) {
                throw new CollectiveException(
                        CollectiveException.Category.AUTHENTICATION,
                        "a frame from rank " + peer + " has kind " + from.getInt(24) + ", " + bytes
                                + " bytes of a call of " + from.getLong(16) + ": no rank of this version sends that");
            }
            return new Frame(
                    new Call(kind, from.getLong(0), from.getLong(8), from.getLong(16), from.getInt(28)), bytes);
        }
    }

    /** Refuses what peer called when this rank called this. */
    void verify(Call other, int rank, int peer) {
        if (!equals(other)) {
            throw new CollectiveException(
                    CollectiveException.Category.MISMATCH,
                    "rank " + rank + " calls " + this + ", but rank " + peer + " calls " + other
                            + ": all ranks must make the same calls with the same sizes in the same order");
        }
    }

    @Override
    public String toString() {
        String more =
                switch (kind) {
                    case ALL_REDUCE, REDUCE_SCATTER -> " of type " + elementType();
                    case ALL_GATHER -> String.format(" in parts %08x", detail);
                    case BROADCAST -> " from root " + detail;
                    case SEND, ALL_TO_ALL, GATHER_LENGTHS, GATHER_BYTES, BARRIER, GROUP -> "";
                };
        return kind + " #" + sequence + " of " + bytes + " bytes" + more + " (generation " + generation + ")";
    }

    private String elementType() {
        ElementType[] types = ElementType.values();
        return detail >= 0 && detail < types.length ? types[detail].toString() : Integer.toString(detail);
    }
}
