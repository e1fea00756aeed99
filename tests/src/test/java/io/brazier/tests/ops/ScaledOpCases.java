package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.of;
import static io.brazier.tests.ops.OpCase.positive;

import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Scaled;
import io.brazier.program.Scaled.NextScales;
import io.brazier.program.Scaled.Role;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.List;

/**
 * Rows of products in eight bits. Reference and kernel convert alike; the results differ as those of any product do, by the rounding
 * of results to bf16 and the order of sums in f32.
 */
final class ScaledOpCases {
    private static final double SUMS = 1e-5;
    private static final double BRAIN_FLOAT = 0x1p-8;

    private ScaledOpCases() {}

    /** All three dims differ, tiles of 64 are full, cut and single, and contractions short and long. */
    private static final long[][] SIZES = {{16, 32, 48}, {64, 128, 192}, {80, 16, 272}, {112, 144, 16}};

    static void addTo(List<OpCase> cases) {
        for (OpCase.Operand state : List.of(known(), unknown())) {
            for (long[] s : SIZES) {
                add(cases, s[0], s[1], s[2], state);
            }
        }
        cases.add(of(new NextScales(), 1e-6, rows(3), accepted(1)));
        cases.add(of(new NextScales(), 1e-6, rows(33), accepted(1)));
        cases.add(of(new NextScales(), 1e-6, rows(33), accepted(0)));
        cases.add(of(new NextScales(), 0, new OpCase.Operand(rows(6).type(), 0, 0), accepted(1)));
    }

    private static void add(List<OpCase> cases, long m, long n, long k, OpCase.Operand state) {
        cases.add(of(forward(Transpose.NONE, false, false), BRAIN_FLOAT, bf16(m, k), bf16(k, n), state));
        cases.add(of(forward(Transpose.W, false, true), BRAIN_FLOAT, bf16(m, k), bf16(n, k), state, bf16(m, n)));
        cases.add(of(
                forward(Transpose.NONE, true, true), BRAIN_FLOAT, bf16(m, k), bf16(k, n), state, bf16(n), bf16(m, n)));
        Role dy = Role.GRADIENT;
        cases.add(of(gradient(Transpose.X, Role.INPUT, dy, false), SUMS, bf16(k, m), bf16(k, n), state));
        cases.add(of(gradient(Transpose.X, dy, Role.INPUT, true), SUMS, bf16(k, m), bf16(k, n), state, f32(m, n)));
        cases.add(of(gradient(Transpose.W, dy, Role.WEIGHT, false), BRAIN_FLOAT, bf16(m, k), bf16(n, k), state));
        cases.add(of(
                gradient(Transpose.NONE, dy, Role.WEIGHT, true),
                BRAIN_FLOAT,
                bf16(2, m / 2, k),
                bf16(k, n),
                state,
                bf16(2, m / 2, n)));
    }

    private static ScaledMatMul forward(Transpose transpose, boolean bias, boolean addend) {
        return ScaledMatMul.of(new MatMul(
                transpose,
                bias ? Operand.PRESENT : Operand.ABSENT,
                addend ? Operand.PRESENT : Operand.ABSENT,
                Activation.NONE));
    }

    private static ScaledMatMul gradient(Transpose transpose, Role x, Role w, boolean addend) {
        Operand sum = addend ? Operand.PRESENT : Operand.ABSENT;
        return new ScaledMatMul(new MatMul(transpose, Operand.ABSENT, sum, Activation.NONE), x, w);
    }

    private static OpCase.Operand bf16(long... dims) {
        return new OpCase.Operand(TensorType.of(DType.BF16, dims), -2, 2);
    }

    /** Some scale, and some other number that takes it back: the op needs not know that they belong together. */
    private static OpCase.Operand known() {
        return new OpCase.Operand(Scaled.state(), 0.1, 1.5);
    }

    private static OpCase.Operand unknown() {
        return new OpCase.Operand(Scaled.state(), 0, 0);
    }

    private static OpCase.Operand rows(long count) {
        return positive(count, Scaled.WIDTH);
    }

    private static OpCase.Operand accepted(double value) {
        return new OpCase.Operand(TensorType.of(DType.F32, 1), value, value);
    }
}
