package io.brazier.tensor;

/** Consecutive indices of a dim. */
public record Range(long start, long length) {
    public Range {
        if (start < 0 || length < 1) {
            throw new IllegalArgumentException("range of " + length + " from " + start + " is empty or negative");
        }
    }

    public long end() {
        return start + length;
    }

    /** Sum of the lengths. */
    public static long total(java.util.List<Range> ranges) {
        return ranges.stream().mapToLong(Range::length).sum();
    }
}
