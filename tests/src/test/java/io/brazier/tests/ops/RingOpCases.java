package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.of;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Collective;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Ring;
import io.brazier.program.Ring.Mask;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import java.util.List;

/** Rows of ring attention; tolerances as for the attention of one rank. */
final class RingOpCases {
    private static final double SUMS = 1e-5;
    private static final double GRADIENTS = 1e-4;

    private RingOpCases() {}

    static void addTo(List<OpCase> cases) {
        cases.add(of(new Collective.Shift(Group.of(Axis.CP), 1), 0, sequence(2, 3, 5)));
        int[][] sizes = {
            {1, 2, 1, 1, 1},
            {2, 6, 3, 3, 7},
            {1, 34, 2, 2, 16},
            {2, 70, 4, 2, 24},
            {1, 130, 2, 1, 64},
            {1, 128, 2, 1, 40},
            {1, 66, 2, 2, 128},
            {1, 34, 2, 1, 256}
        };
        for (int[] s : sizes) {
            Heads heads = new Heads(s[2], s[3], s[4], 1 / Math.sqrt(s[4] + 1));
            OpCase.Operand qkv = sequence(s[0], s[1], (s[2] + 2L * s[3]) * s[4]);
            OpCase.Operand kv = sequence(s[0], s[1], 2L * s[3] * s[4]);
            OpCase.Operand o = sequence(s[0], s[1], (long) s[2] * s[4]);
            cases.add(of(new Ring.RingAttention(heads, 1, 0), SUMS, qkv));
            cases.add(of(new Ring.RingAttentionGrad(heads, 1, 0), GRADIENTS, qkv, o, lse(s, 4, 5), o));
            cases.add(of(new Ring.OwnBlock(heads), SUMS, qkv));
            cases.add(of(new Ring.OwnBlockGrad(heads), GRADIENTS, qkv, o, lse(s, 4, 5), o));
            cases.add(of(new Ring.PackKeyValues(heads), 0, qkv));
            cases.add(of(new Ring.JoinGradients(heads), SUMS, qkv, o, kv));
            for (Mask mask : Mask.values()) {
                cases.add(of(new Ring.AttentionBlock(heads, mask), SUMS, qkv, kv, o, lse(s, -1, 4)));
                cases.add(of(
                        new Ring.AttentionBlockGrad(heads, mask, Operand.ABSENT),
                        GRADIENTS,
                        qkv,
                        kv,
                        o,
                        lse(s, 4, 5),
                        o));
                cases.add(of(
                        new Ring.AttentionBlockGrad(heads, mask, Operand.PRESENT),
                        GRADIENTS,
                        qkv,
                        kv,
                        o,
                        lse(s, 4, 5),
                        o,
                        o));
            }
        }
    }

    private static OpCase.Operand sequence(long... dims) {
        return new OpCase.Operand(f32(dims).type().with(Axis.CP, Placement.shard(1)), -2, 2);
    }

    private static OpCase.Operand lse(int[] s, double low, double high) {
        return new OpCase.Operand(f32(s[0], s[2], s[1]).type().with(Axis.CP, Placement.shard(2)), low, high);
    }
}
