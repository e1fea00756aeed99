package io.brazier.tensor;

import java.util.ArrayList;
import java.util.List;

/**
 * Values laid side by side in one range that can be cut into equal shards.
 *
 * @param offsets first element of each value, a multiple of {@link #ALIGNMENT}
 * @param numElements of the range, gaps and end included
 */
public record Flat(List<Long> offsets, long numElements) {

    /** Elements: a cache line of bf16, two of f32. */
    public static final int ALIGNMENT = 32;

    /** Lays out values of some shapes for size ranks. */
    public static Flat of(List<Shape> shapes, int size) {
        List<Long> offsets = new ArrayList<>();
        long end = 0;
        for (Shape shape : shapes) {
            offsets.add(end);
            end += align(shape.numElements(), ALIGNMENT);
        }
        return new Flat(List.copyOf(offsets), align(end, (long) ALIGNMENT * size));
    }

    private static long align(long count, long unit) {
        return (count + unit - 1) / unit * unit;
    }
}
