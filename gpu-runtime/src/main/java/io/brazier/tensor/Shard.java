package io.brazier.tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * The part of a tensor that a rank holds: the product of some ranges of each dim, in row-major order.
 *
 * @param global shape of the whole tensor
 * @param ranges of each dim, ascending
 */
public record Shard(Shape global, List<List<Range>> ranges) {

    public Shard {
        ranges = ranges.stream().map(List::copyOf).toList();
    }

    /** What {@link #forEachRun} calls. */
    public interface Run {
        void at(long globalOffset, long localOffset, long count);
    }

    public static Shard whole(Shape shape) {
        return new Shard(
                shape, shape.dims().stream().map(d -> List.of(new Range(0, d))).toList());
    }

    /** This shard with other ranges of one dim. */
    public Shard with(int dim, List<Range> held) {
        List<List<Range>> changed = new ArrayList<>(ranges);
        changed.set(dim, held);
        return new Shard(global, changed);
    }

    public Shape shape() {
        return new Shape(ranges.stream().map(Range::total).toList());
    }

    /** Visits the local elements [from, to) in order, in runs that are contiguous in the whole tensor. */
    public void forEachRun(long from, long to, Run run) {
        int whole = ranges.size() - 1;
        while (whole > 0 && ranges.get(whole).equals(List.of(new Range(0, global.dim(whole))))) {
            whole--;
        }
        long inner = 1;
        for (int d = whole + 1; d < ranges.size(); d++) {
            inner *= global.dim(d);
        }
        List<Range> blocks = ranges.get(whole);
        long rowLength = Range.total(blocks) * inner;
        for (long row = from / rowLength; row * rowLength < to; row++) {
            long globalRow = globalRow(row, whole) * global.dim(whole) * inner;
            long local = row * rowLength;
            for (Range block : blocks) {
                long length = block.length() * inner;
                long begin = Math.max(from, local);
                long end = Math.min(to, local + length);
                if (begin < end) {
                    run.at(globalRow + block.start() * inner + begin - local, begin, end - begin);
                }
                local += length;
            }
        }
    }

    /**
     * Where an element of the whole tensor lies, and those behind it.
     *
     * @param local offset in the shard; -1 when they are not in it
     * @param count elements, this one first, that follow one another in the shard, or of which none is in it
     */
    public record Place(long local, long count) {}

    /** Finds an element of the whole tensor; those behind its end are in no shard. */
    public Place find(long element) {
        long stride = global.numElements();
        long local = 0;
        long run = stride - element;
        if (run <= 0) {
            return new Place(-1, Long.MAX_VALUE);
        }
        for (int d = 0; d < ranges.size(); d++) {
            stride /= global.dim(d);
            long index = element / stride % global.dim(d);
            long before = 0;
            long held = 0;
            long next = global.dim(d);
            Range in = null;
            for (Range range : ranges.get(d)) {
                if (range.end() <= index) {
                    before += range.length();
                } else if (range.start() <= index) {
                    in = range;
                } else {
                    next = Math.min(next, range.start());
                }
                held += range.length();
            }
            if (in == null) {
                return new Place(-1, (next - index) * stride - element % stride);
            }
            local = local * held + before + index - in.start();
            if (in.length() < global.dim(d)) {
                run = (in.end() - index) * stride - element % stride;
            }
        }
        return new Place(local, run);
    }

    /** Index, in the whole tensor's dims before one, of a row of the local ones. */
    private long globalRow(long row, int dims) {
        long index = 0;
        long stride = 1;
        for (int d = dims - 1; d >= 0; d--) {
            long held = Range.total(ranges.get(d));
            index += globalIndex(ranges.get(d), row % held) * stride;
            stride *= global.dim(d);
            row /= held;
        }
        return index;
    }

    private static long globalIndex(List<Range> ranges, long local) {
        for (Range range : ranges) {
            if (local < range.length()) {
                return range.start() + local;
            }
            local -= range.length();
        }
        throw new IndexOutOfBoundsException("index lies " + local + " behind " + ranges);
    }
}
