package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Philox;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import io.brazier.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/** Ops that treat each element alone. Any placement but P goes through the nonlinear ones; the linear ones take P too. */
public sealed interface Elementwise extends Op
        permits Elementwise.Activate,
                Elementwise.ActivateGrad,
                Elementwise.Add,
                Elementwise.Scale,
                Elementwise.Share,
                Elementwise.Dropout,
                Elementwise.AddBias,
                Cast,
                Gated,
                Gated.GatedGrad {

    /**
     * Nonlinear functions of one variable. Each counts the operations of its formula as it is written below, exp, tanh and erf as
     * one each, as norms and the optimizer count theirs.
     */
    enum Function {
        /** x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 (arXiv:1606.08415, sec. 2); GPT-2's. */
        GELU_TANH(9, 18) {
            @Override
            double value(double x) {
                return 0.5 * x * (1 + Math.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x)));
            }

            @Override
            double slope(double x) {
                double tanh = Math.tanh(SQRT_2_OVER_PI * (x + CUBIC * x * x * x));
                return 0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * SQRT_2_OVER_PI * (1 + 3 * CUBIC * x * x);
            }
        },
        /** x Phi(x), Phi the normal distribution (arXiv:1606.08415, eq. 1). */
        GELU(5, 10) {
            @Override
            double value(double x) {
                return x * normalCdf(x);
            }

            @Override
            double slope(double x) {
                return normalCdf(x) + x * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
            }
        },
        /** max(x, 0). */
        RELU(1, 1) {
            @Override
            double value(double x) {
                return Math.max(x, 0);
            }

            @Override
            double slope(double x) {
                return x > 0 ? 1 : 0;
            }
        },
        /** x / (1 + exp(-x)) (arXiv:1702.03118). */
        SILU(4, 8) {
            @Override
            double value(double x) {
                return x / (1 + Math.exp(-x));
            }

            @Override
            double slope(double x) {
                double s = 1 / (1 + Math.exp(-x));
                return s * (1 + x * (1 - s));
            }
        };

        private static final double SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);
        private static final double CUBIC = 0.044715;

        private final int valueFlops;
        private final int slopeFlops;

        Function(int valueFlops, int slopeFlops) {
            this.valueFlops = valueFlops;
            this.slopeFlops = slopeFlops;
        }

        abstract double value(double x);

        abstract double slope(double x);

        int valueFlops() {
            return valueFlops;
        }

        int slopeFlops() {
            return slopeFlops;
        }

        /** Phi(x) = 1/2 + density(x) (x + x^3 / 3 + x^5 / (3 5) + …), which converges for all x. */
        private static double normalCdf(double x) {
            if (Math.abs(x) > 8) {
                return x > 0 ? 1 : 0;
            }
            double term = x;
            double sum = x;
            for (int k = 3; Math.abs(term) > 1e-17; k += 2) {
                term *= x * x / k;
                sum += term;
            }
            return 0.5 + sum * Math.exp(-x * x / 2) / Math.sqrt(2 * Math.PI);
        }
    }

    /** y = f(x). Backward keeps x. */
    record Activate(Function function) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            Rules.floating("x", in.get(0));
            Rules.require(
                    !in.get(0).placements().containsValue(Placement.P),
                    "x " + in.get(0) + " is a partial sum: all-reduce it first");
            return in;
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new ActivateGrad(function), g.input(0), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return (double) function.valueFlops() * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(Arrays.stream(in.get(0)).map(function::value).toArray());
        }
    }

    /** dx = dy f'(x); operands x, dy. */
    record ActivateGrad(Function function) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            Rules.same("the gradient type of x", in.get(0).gradient(), "dy", in.get(1));
            return List.of(in.get(1));
        }

        @Override
        public double flops(List<TensorType> in) {
            return (double) (function.slopeFlops() + 1) * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 1));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] dx = in.get(1).clone();
            for (int i = 0; i < dx.length; i++) {
                dx[i] *= function.slope(in.get(0)[i]);
            }
            return List.of(dx);
        }
    }

    /** y = a + b, of one type. */
    record Add() implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            Rules.same("a", in.get(0), "b", in.get(1));
            return List.of(in.get(0));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            for (int x = 0; x < 2; x++) {
                if (g.wants(x)) {
                    g.contribute(x, g.gradient(0));
                }
            }
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0), Alias.allowed(0, 1));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] y = in.get(0).clone();
            for (int i = 0; i < y.length; i++) {
                y[i] += in.get(1)[i];
            }
            return List.of(y);
        }
    }

    /** y = factor x. */
    record Scale(double factor) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            Rules.floating("x", in.get(0));
            return in;
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(0, g.emit(this, g.gradient(0)).get(0));
            }
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(Arrays.stream(in.get(0)).map(x -> factor * x).toArray());
        }
    }

    /**
     * y = x / size: each of size ranks that hold the same x adds its share, so that x counts once. R -> P; the gradient R -> P too. In
     * place if one likes.
     *
     * @param size ranks of the group
     */
    record Share(Group group, int size) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType y = in.get(0);
            Rules.floating("x", y);
            for (Axis axis : group.axes()) {
                Rules.require(y.on(axis).equals(Placement.R), "x " + in.get(0) + " must be R on axis " + axis);
                y = y.with(axis, Placement.P);
            }
            return List.of(y);
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(0, g.emit(this, g.gradient(0)).get(0));
            }
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(Arrays.stream(in.get(0)).map(x -> x / size).toArray());
        }
    }

    /**
     * y = x / (1 - rate) where the draw of the element is at least rate, else 0. Operands x [B, T', D] and rng i64[3] {seed, step,
     * firstRow}. The draw is Philox4x32-10 with key seed and counter (e / 4 low, e / 4 high, step, stream), word e % 4, for the
     * global element e = (firstRow + b T + t) D + d, t the token's place in its sequence; so no sharding changes a draw.
     *
     * @param stream tells apart the dropouts of one model
     * @param sequenceLength T
     * @param tokens places in a sequence of the T' tokens that x holds
     */
    record Dropout(double rate, int stream, long sequenceLength, List<Range> tokens) implements Elementwise {

        public Dropout {
            Rules.require(rate >= 0 && rate < 1, "rate " + rate + " must lie in [0, 1)");
            tokens = List.copyOf(tokens);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            Rules.floating("x", in.get(0));
            Rules.require(
                    in.get(0).shape().rank() == 3 && in.get(0).shape().dim(1) == Range.total(tokens),
                    "x " + in.get(0) + " must be [B, " + Range.total(tokens) + ", D]");
            Rules.shape("rng", in.get(1), 3);
            Rules.dtype("rng", in.get(1), DType.I64);
            return List.of(in.get(0));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(0, g.emit(this, g.gradient(0), g.input(1)).get(0));
            }
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] rng = in.get(1);
            long width = types.get(0).shape().width();
            double[] y = in.get(0).clone();
            Shard held = Shard.whole(Shape.of(types.get(0).shape().dim(0), sequenceLength, width))
                    .with(1, tokens);
            held.forEachRun(0, y.length, (global, local, count) -> {
                for (int i = 0; i < count; i++) {
                    long e = (long) rng[2] * width + global + i;
                    int[] words = Philox.words(
                            (int) (e / 4), (int) (e / 4 >>> 32), (int) (long) rng[1], stream, (long) rng[0]);
                    boolean kept = Philox.uniform(words[(int) (e % 4)]) >= rate;
                    y[(int) local + i] = kept ? y[(int) local + i] / (1 - rate) : 0;
                }
            });
            return List.of(y);
        }
    }

    /** y = x + bias (+ addend): what a product that was reduced over ranks could not take into its epilogue. x [..., N], bias [N]. */
    record AddBias(Operand addend) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2 + addend.count());
            Rules.floating("x", in.get(0));
            Rules.shape("bias", in.get(1), in.get(0).shape().width());
            Rules.weightBeside("bias", in.get(1), in.get(0));
            if (addend == Operand.PRESENT) {
                Rules.same("x", in.get(0), "addend", in.get(2));
            }
            return List.of(in.get(0));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(1)) {
                Value partial = g.partial(1);
                g.replace(
                        1,
                        partial == null
                                ? g.emit(new Matrix.SumRows(Operand.ABSENT), g.gradient(0))
                                        .get(0)
                                : g.emit(new Matrix.SumRows(Operand.PRESENT), g.gradient(0), partial)
                                        .get(0));
            }
            if (g.wants(0)) {
                g.contribute(0, g.gradient(0));
            }
            if (addend == Operand.PRESENT && g.wants(2)) {
                g.contribute(2, g.gradient(0));
            }
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] y = in.get(0).clone();
            int width = in.get(1).length;
            for (int i = 0; i < y.length; i++) {
                y[i] += in.get(1)[i % width] + (addend == Operand.PRESENT ? in.get(2)[i] : 0);
            }
            return List.of(y);
        }
    }
}
