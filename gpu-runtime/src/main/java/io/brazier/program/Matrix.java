package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.BiFunction;
import java.util.function.Function;

/** Matrix products and what rides on them. */
public sealed interface Matrix extends Op
        permits Matrix.MatMul, Matrix.SumRows, BatchedMatMul, Fused.LinearGrad, Fused.MatMulGeluGrad {

    /** Which operand of a product is stored transposed. */
    enum Transpose {
        NONE,
        X,
        W
    }

    /** What the epilogue applies last. */
    enum Activation {
        NONE,
        GELU_TANH
    }

    /** Whether an optional operand is there. */
    enum Operand {
        ABSENT,
        PRESENT;

        int count() {
            return ordinal();
        }
    }

    /** dx = dy w^T and dw = x^T dy of a product, as products that add what is there already. */
    static void operandGradients(
            GradientBuilder g, Transpose transpose, BiFunction<Transpose, Operand, ? extends Op> product) {
        Value x = g.input(0);
        Value w = g.input(1);
        Value dy = g.gradient(0);
        switch (transpose) {
            case NONE -> {
                add(g, 1, addend -> product.apply(Transpose.X, addend), x, dy);
                add(g, 0, addend -> product.apply(Transpose.W, addend), dy, w);
            }
            case W -> {
                add(g, 1, addend -> product.apply(Transpose.X, addend), dy, x);
                add(g, 0, addend -> product.apply(Transpose.NONE, addend), dy, w);
            }
            case X -> throw new IllegalArgumentException("a weight-gradient product is not differentiated again");
        }
    }

    /** Adds a gradient by an op that takes the sum so far, if there is one, as its last operand. */
    static void add(GradientBuilder g, int input, Function<Operand, ? extends Op> gradient, Value... operands) {
        if (!g.wants(input)) {
            return;
        }
        List<Value> all = new ArrayList<>(List.of(operands));
        Value partial = g.partial(input);
        if (partial != null) {
            all.add(partial);
        }
        Op op = gradient.apply(partial == null ? Operand.ABSENT : Operand.PRESENT);
        g.replace(input, g.emit(op, all.toArray(Value[]::new)).get(0));
    }

    /**
     * y = activation(x w + bias + addend).
     *
     * <p>Shapes: NONE: x [..., K], w [K, N] -> y [..., N]. W: x [..., K], w [N, K] -> y [..., N]. X: x [..., M], w [..., N], the
     * leading dims contracted, -> y [M, N]. bias [N], addend like y.
     *
     * <p>Placements on each axis: a contracted dim sharded on both sides gives P; a dim that stays may be sharded beside an R
     * operand; R x P and P x R give P. Column-parallel is R x S1 -> S(last), row-parallel S(last) x S0 -> P
     * (arXiv:1909.08053, sec. 3).
     *
     * <p>y has the type of x, but for X, the gradient of weights, which is f32. Backward keeps x and w.
     */
    record MatMul(Transpose transpose, Operand bias, Operand addend, Activation activation) implements Matrix {

        public static MatMul plain(Transpose transpose) {
            return gradient(transpose, Operand.ABSENT);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + bias.count() + addend.count());
            TensorType x = in.get(0);
            TensorType w = in.get(1);
            Rules.floating("x", x);
            Rules.floating("w", w);
            Rules.require(transpose == Transpose.X || w.shape().rank() == 2, "w " + w + " must have two dims");
            long contractedX =
                    transpose == Transpose.X ? x.shape().rows() : x.shape().width();
            Rules.require(
                    contractedX == contractedW(w),
                    "x " + x + " by w " + w + " contracts " + contractedX + " with " + contractedW(w));
            DType dtype = transpose == Transpose.X ? DType.F32 : x.dtype();
            TensorType y = new TensorType(dtype, outputShape(x.shape(), w.shape()), Map.of());
            for (Axis axis : Axis.values()) {
                y = y.with(axis, place(axis, x, w));
            }
            if (bias == Operand.PRESENT) {
                checkBias(in.get(2), y);
            }
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(in.size() - 1), "the product", y);
            }
            return List.of(y);
        }

        private long contractedW(TensorType w) {
            return switch (transpose) {
                case NONE -> w.shape().dim(0);
                case X -> w.shape().rows();
                case W -> w.shape().dim(1);
            };
        }

        private Shape outputShape(Shape x, Shape w) {
            return switch (transpose) {
                case NONE -> x.withWidth(w.dim(1));
                case X -> Shape.of(x.width(), w.width());
                case W -> x.withWidth(w.dim(0));
            };
        }

        private Placement place(Axis axis, TensorType xType, TensorType wType) {
            Placement x = xType.on(axis);
            Placement w = wType.on(axis);
            int xLast = xType.shape().rank() - 1;
            int wLast = wType.shape().rank() - 1;
            int wContracted = transpose == Transpose.W ? wLast : 0;
            if (x.equals(Placement.I) && w.equals(Placement.I)) {
                return Placement.I;
            }
            if (x instanceof Placement.Sharded sx && w instanceof Placement.Sharded sw) {
                boolean bothContracted = transpose == Transpose.X
                        ? sx.dim() != xLast && sx.dim() == sw.dim() && sw.dim() != wLast
                        : sx.dim() == xLast && sw.dim() == wContracted;
                Rules.require(bothContracted, refusal(axis, xType, wType));
                return Placement.P;
            }
            if (x instanceof Placement.Sharded sx && w.equals(Placement.R)) {
                boolean contracted = transpose == Transpose.X ? sx.dim() != xLast : sx.dim() == xLast;
                Rules.require(!contracted, refusal(axis, xType, wType));
                return transpose == Transpose.X ? Placement.shard(0) : x;
            }
            if (x.equals(Placement.R) && w instanceof Placement.Sharded sw) {
                boolean contracted = transpose == Transpose.X ? sw.dim() != wLast : sw.dim() == wContracted;
                Rules.require(!contracted, refusal(axis, xType, wType));
                int last = transpose == Transpose.X ? 1 : xLast;
                return Placement.shard(last);
            }
            boolean partial =
                    x.equals(Placement.P) && w.equals(Placement.R) || x.equals(Placement.R) && w.equals(Placement.P);
            Rules.require(partial || x.equals(Placement.R) && w.equals(Placement.R), refusal(axis, xType, wType));
            return partial ? Placement.P : Placement.R;
        }

        private static String refusal(Axis axis, TensorType x, TensorType w) {
            String remedy = "";
            if (x.on(axis).equals(Placement.I)) {
                remedy = ": replicate x first";
            } else if (w.on(axis).equals(Placement.I)) {
                remedy = ": replicate w first";
            }
            return "x " + x + " by w " + w + " on axis " + axis + remedy;
        }

        private static void checkBias(TensorType bias, TensorType y) {
            Rules.floating("bias", bias);
            Rules.shape("bias", bias, y.shape().width());
            for (Axis axis : Axis.values()) {
                Placement p = y.on(axis);
                Rules.require(
                        !p.equals(Placement.P),
                        "a bias on the partial sum " + y + " would be added once a rank: all-reduce on axis " + axis
                                + " first");
                Placement needed = p.equals(Placement.I)
                        ? Placement.I
                        : p.equals(Placement.shard(y.shape().rank() - 1)) ? Placement.shard(0) : Placement.R;
                Rules.require(
                        bias.on(axis).equals(needed),
                        "bias " + bias + " must be " + needed + " on axis " + axis + " beside " + y);
            }
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (activation != Activation.NONE) {
                throw new IllegalArgumentException(
                        "matmul with a fused activation is for inference: write activate as an op of its own to train");
            }
            operandGradients(g, transpose, MatMul::gradient);
            if (bias == Operand.PRESENT) {
                add(g, 2, SumRows::new, g.gradient(0));
            }
            int last = 2 + bias.count();
            if (addend == Operand.PRESENT && g.wants(last)) {
                g.contribute(last, g.gradient(0));
            }
        }

        static MatMul gradient(Transpose transpose, Operand addend) {
            return new MatMul(transpose, Operand.ABSENT, addend, Activation.NONE);
        }

        @Override
        public double flops(List<TensorType> in) {
            TensorType x = in.get(0);
            long contracted =
                    transpose == Transpose.X ? x.shape().rows() : x.shape().width();
            return 2.0 * contracted * infer(in).get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 2 + bias.count())) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            TensorType yType = infer(types).get(0);
            boolean transposeX = transpose == Transpose.X;
            int n = (int) yType.shape().width();
            int m = (int) yType.shape().rows();
            int k = in.get(0).length / m;
            double[] x = in.get(0);
            double[] w = in.get(1);
            double[] y = new double[m * n];
            for (int i = 0; i < m; i++) {
                for (int j = 0; j < n; j++) {
                    double sum = bias == Operand.PRESENT ? in.get(2)[j] : 0;
                    for (int p = 0; p < k; p++) {
                        sum += x[transposeX ? p * m + i : i * k + p]
                                * w[transpose == Transpose.W ? j * k + p : p * n + j];
                    }
                    sum += addend == Operand.PRESENT ? in.get(in.size() - 1)[i * n + j] : 0;
                    y[i * n + j] = activation == Activation.GELU_TANH ? Elementwise.Function.GELU_TANH.value(sum) : sum;
                }
            }
            return List.of(y);
        }
    }

    /** y[n] = sum over rows of x[row, n] (+ addend[n]): the gradient of a bias. x [..., N] -> y [N]; S(row) -> P, R or P -> P. */
    record SumRows(Operand addend) implements Matrix {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1 + addend.count());
            TensorType x = in.get(0);
            TensorType y = new TensorType(DType.F32, Shape.of(x.shape().width()), Map.of());
            int last = x.shape().rank() - 1;
            for (Axis axis : Axis.values()) {
                Placement p = x.on(axis);
                if (p instanceof Placement.Sharded s) {
                    y = y.with(axis, s.dim() == last ? Placement.shard(0) : Placement.P);
                } else {
                    y = y.with(axis, p);
                }
            }
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(1), "the sum", y);
            }
            return List.of(y);
        }

        @Override
        public double flops(List<TensorType> in) {
            return in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 1)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            List<double[]> out = new ArrayList<>();
            double[] y = addend == Operand.PRESENT ? in.get(1).clone() : new double[width];
            for (int i = 0; i < in.get(0).length; i++) {
                y[i % width] += in.get(0)[i];
            }
            out.add(y);
            return out;
        }
    }
}
