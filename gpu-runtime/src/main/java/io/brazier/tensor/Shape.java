package io.brazier.tensor;

import java.util.List;
import java.util.stream.LongStream;

/** Sizes of the dims of a value, outermost first; no dim is empty. A scalar has one element and is written [1]. */
public record Shape(List<Long> dims) {

    public Shape {
        dims = List.copyOf(dims);
        if (dims.isEmpty() || dims.stream().anyMatch(d -> d < 1)) {
            throw new IllegalArgumentException("shape " + dims + " needs at least one dim, each of at least 1");
        }
    }

    public static Shape of(long... dims) {
        return new Shape(LongStream.of(dims).boxed().toList());
    }

    public int rank() {
        return dims.size();
    }

    public long dim(int x) {
        return dims.get(x);
    }

    /** Size of the innermost dim. */
    public long width() {
        return dims.get(dims.size() - 1);
    }

    /** Product of all dims but the innermost. */
    public long rows() {
        return numElements() / width();
    }

    public long numElements() {
        return dims.stream().reduce(1L, Math::multiplyExact);
    }

    /** This shape with another innermost dim. */
    public Shape withWidth(long width) {
        List<Long> changed = new java.util.ArrayList<>(dims);
        changed.set(dims.size() - 1, width);
        return new Shape(changed);
    }

    @Override
    public String toString() {
        return dims.toString();
    }
}
