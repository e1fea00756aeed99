package io.brazier.plan;

/** Bytes of a region that a value occupies. */
public record Slice(Region region, long offset, long bytes) {
    /** Every slice starts at a multiple of this: a cache line, and the widest vector. */
    public static final long ALIGNMENT = 64;

    public static long align(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }

    @Override
    public String toString() {
        return region + "+" + offset;
    }
}
