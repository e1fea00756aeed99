package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;
import java.util.Map;

/** Checks that type rules share. All throw IllegalArgumentException that say what was found and what is needed. */
final class Rules {
    private Rules() {}

    static void count(List<TensorType> inputs, int expected) {
        require(inputs.size() == expected, "takes " + expected + " operands, not " + inputs.size());
    }

    static void require(boolean holds, String message) {
        if (!holds) {
            throw new IllegalArgumentException(message);
        }
    }

    static void dtype(String operand, TensorType type, DType expected) {
        require(type.dtype() == expected, operand + " " + type + " must be " + expected);
    }

    static void floating(String operand, TensorType type) {
        require(type.dtype() == DType.F32 || type.dtype() == DType.BF16, operand + " " + type + " must be f32 or bf16");
    }

    static void same(String a, TensorType first, String b, TensorType second) {
        require(first.equals(second), a + " " + first + " and " + b + " " + second + " must have one type");
    }

    static void shape(String operand, TensorType type, long... dims) {
        require(type.shape().equals(Shape.of(dims)), operand + " " + type + " must have shape " + Shape.of(dims));
    }

    /** A buffer of experts' slots that an i32 can name. */
    static void slots(int numExperts, long capacity) {
        require(
                numExperts >= 1 && capacity >= 1 && capacity <= Integer.MAX_VALUE / numExperts,
                numExperts + " experts by capacity " + capacity + " must be from 1 to 2^31 - 1 slots");
    }

    /** Every row whole: the innermost dim is not sharded and nothing is a partial sum. */
    static void wholeRows(String operand, TensorType type) {
        int last = type.shape().rank() - 1;
        type.placements()
                .forEach((axis, p) -> require(
                        !p.equals(Placement.shard(last)) && !p.equals(Placement.P),
                        operand + " " + type + " must have whole rows: gather or reduce it on axis " + axis
                                + " first"));
    }

    /** Placement that weights must have beside data: I beside I, else R (their gradient is then a partial sum). */
    static void weightBeside(String operand, TensorType weight, TensorType data) {
        for (Axis axis : Axis.values()) {
            weightBeside(operand, weight, data, axis);
        }
    }

    static void weightBeside(String operand, TensorType weight, TensorType data, Axis axis) {
        Placement needed = data.on(axis).equals(Placement.I) ? Placement.I : Placement.R;
        require(
                weight.on(axis).equals(needed),
                operand + " " + weight + " beside data " + data + " must be " + needed + " on axis " + axis
                        + (needed.equals(Placement.R) ? ": replicate it first" : ""));
    }

    /** Type of the gradient of weights that data with gradient dy flows through: partial unless all is invariant. */
    static TensorType weightGradient(DType dtype, Shape shape, TensorType data, TensorType dy) {
        TensorType result = new TensorType(dtype, shape, Map.of());
        for (Axis axis : Axis.values()) {
            require(
                    dy.on(axis).equals(data.on(axis).gradient()),
                    "dy " + dy + " is not placed as the gradient of " + data + " on axis " + axis);
            if (!data.on(axis).equals(Placement.I)) {
                result = result.with(axis, Placement.P);
            }
        }
        return result;
    }

    /** The type with the innermost dim dropped, in f32, for per-row statistics. */
    static TensorType perRow(TensorType type) {
        List<Long> dims = type.shape().dims();
        Shape rows = dims.size() == 1 ? Shape.of(1) : new Shape(dims.subList(0, dims.size() - 1));
        return new TensorType(DType.F32, rows, type.placements());
    }
}
