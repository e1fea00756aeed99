package io.brazier.program;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Ring.Mask;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;

/** Type rules and costs that the ops of {@link Ring} share. */
final class RingTypes {
    private RingTypes() {}

    static void checkBlock(String operand, TensorType type, long width) {
        Rules.floating(operand, type);
        Rules.require(
                type.shape().rank() == 3 && type.shape().width() == width,
                operand + " " + type + " must be [B, T, " + width + "]");
        type.placements()
                .forEach((axis, p) -> Rules.require(
                        !p.equals(Placement.P) && (axis == Axis.CP || !p.equals(Placement.shard(1))),
                        operand + " " + type + " must be split over axis cp alone along its sequence, not over "
                                + axis));
        Rules.require(type.on(Axis.CP).equals(Placement.shard(1)), operand + " " + type + " must be S1 on axis cp");
    }

    static void checkResults(Heads heads, TensorType qkv, TensorType o, TensorType lse, TensorType dO) {
        Rules.floating("o", o);
        Rules.same("o", new TensorType(qkv.dtype(), o.shape(), o.placements()), "the output", output(heads, qkv));
        Rules.same("lse", lse, "the statistics", statistics(heads, qkv));
        Rules.same("the gradient type of o", o.gradient(), "dO", dO);
    }

    static TensorType output(Heads heads, TensorType qkv) {
        return new TensorType(qkv.dtype(), qkv.shape().withWidth(heads.output()), qkv.placements());
    }

    static TensorType statistics(Heads heads, TensorType qkv) {
        Shape s = qkv.shape();
        TensorType lse = TensorType.of(DType.F32, s.dim(0), heads.heads(), s.dim(1));
        for (Axis axis : qkv.placements().keySet()) {
            Placement p = qkv.on(axis);
            boolean heads2 = p.equals(Placement.shard(2));
            lse = lse.with(axis, axis == Axis.CP ? Placement.shard(2) : heads2 ? Placement.shard(1) : p);
        }
        return lse;
    }

    static TensorType keyValues(Heads heads, TensorType qkv) {
        return new TensorType(qkv.dtype(), qkv.shape().withWidth(heads.keyValues()), qkv.placements());
    }

    /** Type of a gradient that is summed over blocks. */
    static TensorType sums(TensorType type) {
        return new TensorType(DType.F32, type.shape(), type.gradient().placements());
    }

    /** Pairs (query, key) of a block times 2 and H K: B T^2 H K, half of them seen. */
    static double blockPairs(Heads heads, TensorType qkv) {
        Shape s = qkv.shape();
        return (double) s.dim(0) * s.dim(1) * s.dim(1) * heads.output();
    }

    /** Bytes that a mask lets through: all of the queries' and half of the keys', or the reverse. */
    static double seen(Mask mask, double queries, double keys) {
        return mask == Mask.EARLIER ? queries + keys / 2 : queries / 2 + keys;
    }
}
