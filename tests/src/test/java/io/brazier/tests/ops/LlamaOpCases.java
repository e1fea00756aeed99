package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.ids;
import static io.brazier.tests.ops.OpCase.of;
import static io.brazier.tests.ops.OpCase.positive;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Gated;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Norm;
import io.brazier.program.Rotary;
import io.brazier.program.RotaryScaling;
import java.util.Arrays;
import java.util.List;

/** The rows of the table of ops for those of Llama-like models; tolerances as in {@link OpCases}. */
final class LlamaOpCases {
    private static final double ELEMENTWISE = 2e-6;
    private static final double SUMS = 1e-5;

    private LlamaOpCases() {}

    static void addTo(List<OpCase> cases) {
        norms(cases);
        gatedUnits(cases);
        rotary(cases);
    }

    private static void norms(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 1}, {3, 5}, {2, 7, 33}, {40, 96}, {90, 520}}) {
            long width = s[s.length - 1];
            long[] rows = Arrays.copyOf(s, s.length - 1);
            cases.add(of(new Norm.RmsNorm(1e-5), SUMS, f32(s), f32(width)));
            cases.add(of(new Norm.RmsNormGradInput(Operand.ABSENT), SUMS, f32(s), f32(s), f32(width), positive(rows)));
            cases.add(of(
                    new Norm.RmsNormGradInput(Operand.PRESENT),
                    SUMS,
                    f32(s),
                    f32(s),
                    f32(width),
                    positive(rows),
                    f32(s)));
            cases.add(of(new Norm.RmsNormGradParameters(Operand.ABSENT), SUMS, f32(s), f32(s), positive(rows)));
            cases.add(of(
                    new Norm.RmsNormGradParameters(Operand.PRESENT), SUMS, f32(s), f32(s), positive(rows), f32(width)));
        }
    }

    private static void gatedUnits(List<OpCase> cases) {
        for (long[] s : new long[][] {{2}, {3, 10}, {2, 7, 66}, {1, 5000}, {70, 512}}) {
            long[] half = s.clone();
            half[s.length - 1] /= 2;
            for (var function : List.of(Function.SILU, Function.GELU_TANH)) {
                cases.add(of(new Gated(function), ELEMENTWISE, f32(s)));
                cases.add(of(new Gated.GatedGrad(function), ELEMENTWISE, f32(s), f32(half)));
            }
        }
    }

    /** Positions up to 131072, whose angles single precision could not hold. */
    private static void rotary(List<OpCase> cases) {
        List<RotaryScaling> scalings =
                List.of(RotaryScaling.NONE, new RotaryScaling.Linear(2.5), new RotaryScaling.Llama3(8, 1, 4, 8192));
        int[][] sizes = {{1, 1, 1, 1, 2}, {2, 5, 3, 1, 6}, {2, 7, 4, 2, 34}, {1, 33, 8, 2, 64}, {3, 40, 6, 3, 128}};
        for (int[] s : sizes) {
            Heads heads = new Heads(s[2], s[3], s[4], 1);
            for (RotaryScaling scaling : scalings) {
                Rotary rotary = new Rotary(heads, 500_000, scaling);
                OpCase.Operand qkv = f32(s[0], s[1], (s[2] + 2L * s[3]) * s[4]);
                OpCase.Operand positions = ids(0, 131_073, s[0], s[1]);
                cases.add(of(rotary, ELEMENTWISE, qkv, positions));
                cases.add(of(new Rotary.RotaryGrad(rotary), ELEMENTWISE, qkv, positions));
            }
        }
    }
}
