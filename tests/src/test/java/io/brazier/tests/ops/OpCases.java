package io.brazier.tests.ops;

import static io.brazier.tests.ops.OpCase.counters;
import static io.brazier.tests.ops.OpCase.f32;
import static io.brazier.tests.ops.OpCase.f64;
import static io.brazier.tests.ops.OpCase.of;
import static io.brazier.tests.ops.OpCase.positive;

import io.brazier.program.Cast;
import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.Fused.LinearGrad;
import io.brazier.program.Fused.MatMulGeluGrad;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Norm;
import io.brazier.program.Op;
import io.brazier.program.Optimizer;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * The table of ops: it drives the comparison of back ends with the plain references and the check of gradients. Tolerances are
 * relative to the largest output; each is f32's 6e-8 times the length of the longest sum, with a margin for its order.
 */
final class OpCases {
    private static final double ELEMENTWISE = 2e-6;
    private static final double SUMS = 1e-5;

    private OpCases() {}

    static List<OpCase> all() {
        List<OpCase> cases = new ArrayList<>();
        matmuls(cases);
        elementwise(cases);
        norms(cases);
        optimizer(cases);
        collectives(cases);
        VocabularyOpCases.addTo(cases);
        AttentionOpCases.addTo(cases);
        LlamaOpCases.addTo(cases);
        ExpertsOpCases.addTo(cases);
        RingOpCases.addTo(cases);
        ScaledOpCases.addTo(cases);
        return cases;
    }

    private static void matmuls(List<OpCase> cases) {
        long[][] sizes = {{1, 1, 1}, {3, 5, 7}, {17, 33, 65}, {64, 96, 128}, {2, 257, 40}, {130, 61, 24}};
        for (long[] s : sizes) {
            long m = s[0];
            long n = s[1];
            long k = s[2];
            cases.add(of(MatMul.plain(Transpose.NONE), SUMS, f32(m, k), f32(k, n)));
            cases.add(of(MatMul.plain(Transpose.W), SUMS, f32(m, k), f32(n, k)));
            cases.add(of(MatMul.plain(Transpose.X), SUMS, f32(k, m), f32(k, n)));
            cases.add(of(product(Transpose.X, false, true, false), SUMS, f32(k, m), f32(k, n), f32(m, n)));
            cases.add(of(product(Transpose.W, false, true, false), SUMS, f32(m, k), f32(n, k), f32(m, n)));
            cases.add(of(product(Transpose.NONE, true, false, false), SUMS, f32(m, k), f32(k, n), f32(n)));
            cases.add(of(product(Transpose.NONE, true, false, true), SUMS, f32(m, k), f32(k, n), f32(n)));
            cases.add(of(product(Transpose.NONE, true, true, false), SUMS, f32(m, k), f32(k, n), f32(n), f32(m, n)));
            cases.add(of(new LinearGrad(Operand.ABSENT), SUMS, f32(k, m), f32(k, n)));
            cases.add(of(new LinearGrad(Operand.PRESENT), SUMS, f32(k, m), f32(k, n), f32(m, n), f32(n)));
            cases.add(of(new MatMulGeluGrad(Transpose.NONE), SUMS, f32(m, k), f32(k, n), f32(m, n)));
            cases.add(of(new MatMulGeluGrad(Transpose.W), SUMS, f32(m, k), f32(n, k), f32(m, n)));
        }
        cases.add(of(MatMul.plain(Transpose.X), SUMS, f32(2, 9, 5), f32(2, 9, 7)));
        cases.add(of(MatMul.plain(Transpose.W), SUMS, f32(2, 9, 5), f32(7, 5)));
        cases.add(of(new LinearGrad(Operand.ABSENT), SUMS, f32(2, 9, 5), f32(2, 9, 7)));
        cases.add(of(new MatMulGeluGrad(Transpose.W), SUMS, f32(2, 9, 5), f32(16, 5), f32(2, 9, 16)));
        for (long[] s : new long[][] {{1, 1}, {5, 33}, {130, 24}, {70, 520}}) {
            cases.add(of(new SumRows(Operand.ABSENT), SUMS, f32(s)));
            cases.add(of(new SumRows(Operand.PRESENT), SUMS, f32(s), f32(s[1])));
        }
    }

    private static Op product(Transpose transpose, boolean bias, boolean addend, boolean gelu) {
        return new MatMul(
                transpose,
                bias ? Operand.PRESENT : Operand.ABSENT,
                addend ? Operand.PRESENT : Operand.ABSENT,
                gelu ? Activation.GELU_TANH : Activation.NONE);
    }

    private static void elementwise(List<OpCase> cases) {
        for (long[] s : new long[][] {{1}, {3, 5}, {2, 7, 33}, {70, 512}}) {
            for (Elementwise.Function function : Elementwise.Function.values()) {
                cases.add(of(new Elementwise.Activate(function), ELEMENTWISE, f32(s)));
                cases.add(of(new Elementwise.ActivateGrad(function), ELEMENTWISE, f32(s), f32(s)));
            }
            cases.add(of(new Elementwise.Add(), ELEMENTWISE, f32(s), f32(s)));
            cases.add(of(new Elementwise.Scale(-0.37), ELEMENTWISE, f32(s)));
            cases.add(of(new Cast(DType.F32), 0, f32(s)));
            cases.add(of(new Cast(DType.BF16), 0, f32(s)));
        }
        for (long[] s : new long[][] {{1, 1, 1}, {2, 5, 33}, {3, 8, 64}}) {
            List<Range> tokens =
                    s[1] == 1 ? List.of(new Range(2, 1)) : List.of(new Range(1, 2), new Range(6, s[1] - 2));
            cases.add(of(new Elementwise.Dropout(0.3, 7, 15, tokens), ELEMENTWISE, f32(s), counters(3)));
            cases.add(of(new Elementwise.AddBias(Operand.ABSENT), ELEMENTWISE, f32(s), f32(s[2])));
            cases.add(of(new Elementwise.AddBias(Operand.PRESENT), ELEMENTWISE, f32(s), f32(s[2]), f32(s)));
        }
    }

    private static void norms(List<OpCase> cases) {
        for (long[] s : new long[][] {{1, 2}, {3, 5}, {2, 7, 33}, {40, 96}, {90, 520}, {35, 261}}) {
            long width = s[s.length - 1];
            long[] rows = java.util.Arrays.copyOf(s, s.length - 1);
            cases.add(of(new Norm.LayerNorm(1e-5), SUMS, f32(s), f32(width), f32(width)));
            cases.add(of(
                    new Norm.LayerNormGradInput(Operand.ABSENT),
                    SUMS,
                    f32(s),
                    f32(s),
                    f32(width),
                    f32(rows),
                    positive(rows)));
            cases.add(of(
                    new Norm.LayerNormGradInput(Operand.PRESENT),
                    SUMS,
                    f32(s),
                    f32(s),
                    f32(width),
                    f32(rows),
                    positive(rows),
                    f32(s)));
            cases.add(of(
                    new Norm.LayerNormGradParameters(Operand.ABSENT), SUMS, f32(s), f32(s), f32(rows), positive(rows)));
            cases.add(of(
                    new Norm.LayerNormGradParameters(Operand.PRESENT),
                    SUMS,
                    f32(s),
                    f32(s),
                    f32(rows),
                    positive(rows),
                    f32(width),
                    f32(width)));
        }
    }

    private static void optimizer(List<OpCase> cases) {
        for (long n : new long[] {1, 17, 70_001}) {
            cases.add(of(new Optimizer.SquaredSum(0.5, Group.of(), Operand.ABSENT), SUMS, f32(n)));
            cases.add(of(new Optimizer.SquaredSum(0.5, Group.of(), Operand.PRESENT), SUMS, f32(n), f64(1)));
            cases.add(of(
                    new Optimizer.AdamW(0.1),
                    SUMS,
                    f32(n),
                    f32(n),
                    f32(n),
                    positive(n),
                    new OpCase.Operand(f32(7).type(), 0.01, 0.9)));
        }
    }

    private static void collectives(List<OpCase> cases) {
        Group group = Group.of(Axis.DP);
        cases.add(placed(new Collective.Replicate(group), Placement.I));
        cases.add(placed(new Collective.AllReduce(group, 1), Placement.P));
        cases.add(placed(new Collective.AllGather(group, 1, 0), Placement.shard(0)));
        cases.add(placed(new Collective.AllGather(group, 1, 1), Placement.shard(1)));
        cases.add(placed(new Collective.ReduceScatter(group, 1, 0), Placement.P));
        cases.add(placed(new Collective.ReduceScatter(group, 1, 1), Placement.P));
        cases.add(placed(new Collective.AllToAll(group, 1, 0, 1), Placement.shard(0)));
        TensorType weight = f32(4, 8).type().with(Axis.DP, Placement.R);
        OpCase.Operand shard = f32(32);
        cases.add(of(
                new Collective.GatherWeights(group, 1, List.of(weight)),
                0,
                new OpCase.Operand(shard.type().with(Axis.DP, Placement.shard(0)), shard.low(), shard.high())));
        cases.add(of(
                new Collective.ScatterGradients(group, 1, List.of(weight)),
                0,
                new OpCase.Operand(weight.gradient(), shard.low(), shard.high())));
    }

    private static OpCase placed(Op op, Placement placement) {
        OpCase.Operand x = f32(3, 5);
        return of(op, 0, new OpCase.Operand(x.type().with(Axis.DP, placement), x.low(), x.high()));
    }
}
