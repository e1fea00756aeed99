package io.brazier.tensor;

import java.util.EnumMap;
import java.util.Map;
import java.util.stream.Collectors;

/**
 * Type of a value on one rank: dtype, local shape, one placement per mesh axis.
 *
 * @param placements placement by axis; an axis that is absent is {@link Placement#I}
 */
public record TensorType(DType dtype, Shape shape, Map<Axis, Placement> placements) {

    public TensorType {
        EnumMap<Axis, Placement> kept = new EnumMap<>(Axis.class);
        placements.forEach((axis, placement) -> {
            if (placement instanceof Placement.Sharded s && (s.dim() < 0 || s.dim() >= shape.rank())) {
                throw new IllegalArgumentException(axis + "=" + placement + " shards a dim that " + shape + " lacks");
            }
            if (!placement.equals(Placement.I)) {
                kept.put(axis, placement);
            }
        });
        placements = java.util.Collections.unmodifiableMap(kept);
    }

    /** An invariant value. */
    public static TensorType of(DType dtype, long... dims) {
        return new TensorType(dtype, Shape.of(dims), Map.of());
    }

    public Placement on(Axis axis) {
        return placements.getOrDefault(axis, Placement.I);
    }

    public TensorType with(Axis axis, Placement placement) {
        Map<Axis, Placement> changed = new EnumMap<>(Axis.class);
        changed.putAll(placements);
        changed.put(axis, placement);
        return new TensorType(dtype, shape, changed);
    }

    /** The same with other elements. */
    public TensorType as(DType other) {
        return new TensorType(other, shape, placements);
    }

    /** Type of the gradient of a value of this type. */
    public TensorType gradient() {
        Map<Axis, Placement> dual = new EnumMap<>(Axis.class);
        placements.forEach((axis, placement) -> dual.put(axis, placement.gradient()));
        return new TensorType(dtype, shape, dual);
    }

    public long bytes() {
        return Math.multiplyExact(shape.numElements(), dtype.bytes());
    }

    /** For example {@code f32[4, 64, 128] dp=S0 tp=R}. */
    @Override
    public String toString() {
        return dtype
                + shape.toString()
                + placements.entrySet().stream()
                        .map(e -> " " + e.getKey() + "=" + e.getValue())
                        .collect(Collectors.joining());
    }
}
