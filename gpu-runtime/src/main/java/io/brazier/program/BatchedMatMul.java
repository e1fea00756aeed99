package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;
import java.util.Map;

/**
 * A product for each of E experts: y[e] = x[e] w[e] (+ addend[e]).
 *
 * <p>Shapes: NONE: x [E, M, K], w [E, K, N] -> y [E, M, N]. W: x [E, M, K], w [E, N, K] -> y [E, M, N]. X, the gradient of weights and
 * so always f32: x [E, M, K], w [E, M, N] -> y [E, K, N]. addend like y.
 *
 * <p>Placements on each axis: S0 x S0 -> S0 (experts over ep); else as {@link Matrix.MatMul}: a contracted dim sharded on both sides
 * gives P, a dim that stays may be sharded beside an R operand (tokens S1 x R -> S1, column-parallel R x S2 -> S2), R x P and P x R
 * give P.
 *
 * <p>Backward keeps x and w.
 */
public record BatchedMatMul(Transpose transpose, Operand addend) implements Matrix {

    private static final Placement EXPERTS = Placement.shard(0);

    public static BatchedMatMul plain(Transpose transpose) {
        return new BatchedMatMul(transpose, Operand.ABSENT);
    }

    private int contractedX() {
        return transpose == Transpose.X ? 1 : 2;
    }

    private int contractedW() {
        return transpose == Transpose.W ? 2 : 1;
    }

    @Override
    public List<TensorType> infer(List<TensorType> in) {
        Rules.count(in, 2 + addend.count());
        TensorType x = in.get(0);
        TensorType w = in.get(1);
        Rules.floating("x", x);
        Rules.floating("w", w);
        Rules.require(x.shape().rank() == 3 && w.shape().rank() == 3, "x " + x + " and w " + w + " must have 3 dims");
        Rules.require(
                x.shape().dim(0) == w.shape().dim(0),
                "x " + x + " by w " + w + " has " + x.shape().dim(0) + " experts beside "
                        + w.shape().dim(0));
        long contracted = x.shape().dim(contractedX());
        Rules.require(
                contracted == w.shape().dim(contractedW()),
                "x " + x + " by w " + w + " contracts " + contracted + " with "
                        + w.shape().dim(contractedW()));
        Shape shape = Shape.of(
                x.shape().dim(0), x.shape().dim(3 - contractedX()), w.shape().dim(3 - contractedW()));
        TensorType y = new TensorType(transpose == Transpose.X ? DType.F32 : x.dtype(), shape, Map.of());
        for (Axis axis : Axis.values()) {
            y = y.with(axis, place(axis, x, w));
        }
        if (addend == Operand.PRESENT) {
            Rules.same("addend", in.get(2), "the product", y);
        }
        return List.of(y);
    }

    private Placement place(Axis axis, TensorType xType, TensorType wType) {
        Placement x = xType.on(axis);
        Placement w = wType.on(axis);
        if (x.equals(w) && (x.equals(EXPERTS) || x.equals(Placement.I) || x.equals(Placement.R))) {
            return x;
        }
        if (x.equals(Placement.shard(contractedX())) && w.equals(Placement.shard(contractedW()))) {
            return Placement.P;
        }
        if (x.equals(Placement.shard(3 - contractedX())) && w.equals(Placement.R)) {
            return Placement.shard(1);
        }
        if (x.equals(Placement.R) && w.equals(Placement.shard(3 - contractedW()))) {
            return Placement.shard(2);
        }
        boolean partial =
                x.equals(Placement.P) && w.equals(Placement.R) || x.equals(Placement.R) && w.equals(Placement.P);
        Rules.require(partial, "x " + xType + " by w " + wType + " on axis " + axis);
        return Placement.P;
    }

    @Override
    public void differentiate(GradientBuilder g) {
        Matrix.operandGradients(g, transpose, BatchedMatMul::new);
        if (addend == Operand.PRESENT && g.wants(2)) {
            g.contribute(2, g.gradient(0));
        }
    }

    @Override
    public double flops(List<TensorType> in) {
        return 2.0
                * in.get(0).shape().dim(contractedX())
                * infer(in).get(0).shape().numElements();
    }

    @Override
    public List<Alias> aliases() {
        return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 2)) : List.of();
    }

    @Override
    public List<double[]> reference(List<TensorType> types, List<double[]> in) {
        Shape shape = infer(types).get(0).shape();
        int m = (int) shape.dim(1);
        int n = (int) shape.dim(2);
        int k = (int) types.get(0).shape().dim(contractedX());
        double[] x = in.get(0);
        double[] w = in.get(1);
        double[] y = new double[(int) shape.numElements()];
        for (int i = 0; i < y.length; i++) {
            int e = i / (m * n);
            int row = i / n % m;
            int column = i % n;
            double sum = addend == Operand.PRESENT ? in.get(2)[i] : 0;
            for (int p = 0; p < k; p++) {
                sum += x[e * m * k + (transpose == Transpose.X ? p * m + row : row * k + p)]
                        * w[e * k * n + (transpose == Transpose.W ? column * k + p : p * n + column)];
            }
            y[i] = sum;
        }
        return List.of(y);
    }
}
