package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.ids;
import static io.brazier.tests.ops.OpCase.of;

import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.CausalAttentionGrad;
import io.brazier.program.Attention.Heads;
import java.util.List;

/** Rows of causal attention, with and without a cache; tolerances as in {@link OpCases}, gradients sum twice as deep. */
final class AttentionOpCases {
    private static final double SUMS = 1e-5;
    private static final double GRADIENTS = 1e-4;

    /**
     * {B, T, H, G, K}: numbers of tokens beside the borders of blocks, heads that share keys and heads that do not, widths that fill no
     * vector, no cache line and no tile.
     */
    private static final int[][] SIZES = {
        {1, 1, 1, 1, 1},
        {2, 5, 3, 3, 7},
        {1, 33, 2, 2, 16},
        {2, 70, 4, 2, 24},
        {1, 130, 2, 1, 64},
        {2, 7, 8, 2, 16},
        {1, 67, 8, 2, 32},
        {2, 13, 6, 3, 20},
        {1, 129, 6, 3, 64},
        {1, 63, 2, 1, 40},
        {1, 64, 3, 1, 8},
        {1, 65, 2, 1, 80},
        {1, 130, 2, 2, 128},
        {1, 35, 2, 1, 200},
        {1, 66, 1, 1, 256}
    };

    /** {T, tokens in the cache at most}. */
    private static final int[][] CACHED = {{1, 8}, {3, 8}, {5, 8}, {1, 600}, {70, 90}};

    private AttentionOpCases() {}

    static void addTo(List<OpCase> cases) {
        for (int[] s : SIZES) {
            Heads heads = new Heads(s[2], s[3], s[4], 1 / Math.sqrt(s[4] + 1));
            long fused = (s[2] + 2L * s[3]) * s[4];
            long out = (long) s[2] * s[4];
            OpCase.Operand qkv = f32(s[0], s[1], fused);
            OpCase.Operand o = f32(s[0], s[1], out);
            OpCase.Operand lse = new OpCase.Operand(f32(s[0], s[2], s[1]).type(), 4, 5);
            cases.add(of(new CausalAttention(heads), SUMS, qkv));
            cases.add(of(new CausalAttentionGrad(heads), GRADIENTS, qkv, o, lse, o));
        }
        for (int[] s : SIZES) {
            Heads heads = new Heads(s[2], s[3], s[4], 1 / Math.sqrt(s[4] + 1));
            for (int[] cached : CACHED) {
                OpCase.Operand cache = f32(s[0], s[3], cached[1] + cached[0], s[4]);
                OpCase.Operand qkv = f32(s[0], cached[0], (s[2] + 2L * s[3]) * s[4]);
                cases.add(of(new CachedAttention(heads), SUMS, qkv, cache, cache, ids(0, cached[1] + 1, s[0])));
            }
        }
    }
}
