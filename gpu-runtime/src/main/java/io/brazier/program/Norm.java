package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;

/** Normalisation over the innermost dim. */
public sealed interface Norm extends Op {

    /**
     * y = (x - mean) rstd gamma + beta, rstd = 1 / sqrt(variance + epsilon) (arXiv:1607.06450). x [..., D], gamma [D], beta [D] ->
     * y [..., D], mean [...], rstd [...]. Rows must be whole; gamma and beta are R where x is sharded. Backward keeps x, mean,
     * rstd.
     */
    record LayerNorm(double epsilon) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            TensorType x = in.get(0);
            Rules.floating("x", x);
            Rules.wholeRows("x", x);
            for (int w = 1; w < 3; w++) {
                Rules.floating(w == 1 ? "gamma" : "beta", in.get(w));
                Rules.shape(w == 1 ? "gamma" : "beta", in.get(w), x.shape().width());
                Rules.weightBeside(w == 1 ? "gamma" : "beta", in.get(w), x);
            }
            Rules.dtype("beta beside gamma", in.get(2), in.get(1).dtype());
            return List.of(x, Rules.perRow(x), Rules.perRow(x));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value x = g.input(0);
            Value dy = g.gradient(0);
            Value mean = g.output(1);
            Value rstd = g.output(2);
            if (g.wants(1) || g.wants(2)) {
                boolean accumulate = g.partial(1) != null && g.partial(2) != null;
                List<Value> both = accumulate
                        ? g.emit(
                                new LayerNormGradParameters(Operand.PRESENT),
                                x,
                                dy,
                                mean,
                                rstd,
                                g.partial(1),
                                g.partial(2))
                        : g.emit(new LayerNormGradParameters(Operand.ABSENT), x, dy, mean, rstd);
                for (int w = 1; w < 3; w++) {
                    if (accumulate) {
                        g.replace(w, both.get(w - 1));
                    } else if (g.wants(w)) {
                        g.contribute(w, both.get(w - 1));
                    }
                }
            }
            if (g.wants(0)) {
                Value partial = g.partial(0);
                g.replace(
                        0,
                        (partial == null
                                        ? g.emit(new LayerNormGradInput(Operand.ABSENT), x, dy, g.input(1), mean, rstd)
                                        : g.emit(
                                                new LayerNormGradInput(Operand.PRESENT),
                                                x,
                                                dy,
                                                g.input(1),
                                                mean,
                                                rstd,
                                                partial))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 8.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] x = in.get(0);
            int rows = x.length / width;
            double[] y = new double[x.length];
            double[] means = new double[rows];
            double[] rstds = new double[rows];
            for (int r = 0; r < rows; r++) {
                double mean = 0;
                for (int i = 0; i < width; i++) {
                    mean += x[r * width + i] / width;
                }
                double variance = 0;
                for (int i = 0; i < width; i++) {
                    variance += (x[r * width + i] - mean) * (x[r * width + i] - mean) / width;
                }
                means[r] = mean;
                rstds[r] = 1 / Math.sqrt(variance + epsilon);
                for (int i = 0; i < width; i++) {
                    y[r * width + i] = (x[r * width + i] - mean) * rstds[r] * in.get(1)[i] + in.get(2)[i];
                }
            }
            return List.of(y, means, rstds);
        }
    }

    /**
     * dx = rstd (g - mean(g) - xhat mean(g xhat)) (+ addend), with g = dy gamma and xhat = (x - mean) rstd. Operands x, dy, gamma,
     * mean, rstd, addend like dx.
     */
    record LayerNormGradInput(Operand addend) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 5 + addend.count());
            Rules.same("the gradient type of x", in.get(0).gradient(), "dy", in.get(1));
            Rules.dtype("mean", in.get(3), DType.F32);
            Rules.dtype("rstd", in.get(4), DType.F32);
            Rules.weightBeside("gamma", in.get(2), in.get(0));
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(5), "dy", in.get(1));
            }
            return List.of(in.get(1));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 11.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 5)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] dx = addend == Operand.PRESENT ? in.get(5).clone() : new double[in.get(0).length];
            for (int r = 0; r < dx.length / width; r++) {
                double meanG = 0;
                double meanGx = 0;
                for (int i = 0; i < width; i++) {
                    double g = in.get(1)[r * width + i] * in.get(2)[i];
                    meanG += g / width;
                    meanGx += g * normalised(in, r, width, i) / width;
                }
                for (int i = 0; i < width; i++) {
                    double g = in.get(1)[r * width + i] * in.get(2)[i];
                    dx[r * width + i] += in.get(4)[r] * (g - meanG - normalised(in, r, width, i) * meanGx);
                }
            }
            return List.of(dx);
        }

        private static double normalised(List<double[]> in, int row, int width, int i) {
            return (in.get(0)[row * width + i] - in.get(3)[row]) * in.get(4)[row];
        }
    }

    /** dgamma = sum over rows of dy xhat, dbeta = sum over rows of dy (+ addends). Operands x, dy, mean, rstd, two addends [D]. */
    record LayerNormGradParameters(Operand addends) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4 + 2 * addends.count());
            TensorType x = in.get(0);
            Rules.same("the gradient type of x", x.gradient(), "dy", in.get(1));
            Rules.dtype("mean", in.get(2), DType.F32);
            Rules.dtype("rstd", in.get(3), DType.F32);
            TensorType result =
                    Rules.weightGradient(DType.F32, Shape.of(x.shape().width()), x, in.get(1));
            if (addends == Operand.PRESENT) {
                Rules.same("the sum for gamma", in.get(4), "its gradient", result);
                Rules.same("the sum for beta", in.get(5), "its gradient", result);
            }
            return List.of(result, result);
        }

        @Override
        public double flops(List<TensorType> in) {
            return 5.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addends == Operand.PRESENT ? List.of(Alias.allowed(0, 4), Alias.allowed(1, 5)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            boolean accumulate = addends == Operand.PRESENT;
            double[] dgamma = accumulate ? in.get(4).clone() : new double[width];
            double[] dbeta = accumulate ? in.get(5).clone() : new double[width];
            for (int i = 0; i < in.get(0).length; i++) {
                int row = i / width;
                dgamma[i % width] += in.get(1)[i] * (in.get(0)[i] - in.get(2)[row]) * in.get(3)[row];
                dbeta[i % width] += in.get(1)[i];
            }
            return List.of(dgamma, dbeta);
        }
    }

    /**
     * y = x rstd gamma, rstd = 1 / sqrt(mean(x^2) + epsilon) (arXiv:1910.07467). x [..., D], gamma [D] -> y [..., D], rstd f32
     * [...]. Rows must be whole; gamma is R where x is sharded. Backward keeps x, rstd.
     */
    record RmsNorm(double epsilon) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            TensorType x = in.get(0);
            Rules.floating("x", x);
            Rules.wholeRows("x", x);
            Rules.floating("gamma", in.get(1));
            Rules.shape("gamma", in.get(1), x.shape().width());
            Rules.weightBeside("gamma", in.get(1), x);
            return List.of(x, Rules.perRow(x));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value x = g.input(0);
            Value dy = g.gradient(0);
            Value rstd = g.output(1);
            if (g.wants(1)) {
                Value sum = g.partial(1);
                g.replace(
                        1,
                        (sum == null
                                        ? g.emit(new RmsNormGradParameters(Operand.ABSENT), x, dy, rstd)
                                        : g.emit(new RmsNormGradParameters(Operand.PRESENT), x, dy, rstd, sum))
                                .get(0));
            }
            if (g.wants(0)) {
                Value sum = g.partial(0);
                Value gamma = g.input(1);
                g.replace(
                        0,
                        (sum == null
                                        ? g.emit(new RmsNormGradInput(Operand.ABSENT), x, dy, gamma, rstd)
                                        : g.emit(new RmsNormGradInput(Operand.PRESENT), x, dy, gamma, rstd, sum))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] x = in.get(0);
            double[] y = new double[x.length];
            double[] rstd = new double[x.length / width];
            for (int r = 0; r < rstd.length; r++) {
                double meanSquare = 0;
                for (int i = 0; i < width; i++) {
                    meanSquare += x[r * width + i] * x[r * width + i] / width;
                }
                rstd[r] = 1 / Math.sqrt(meanSquare + epsilon);
                for (int i = 0; i < width; i++) {
                    y[r * width + i] = x[r * width + i] * rstd[r] * in.get(1)[i];
                }
            }
            return List.of(y, rstd);
        }
    }

    /**
     * dx = rstd (g - xhat mean(g xhat)) (+ addend), with g = dy gamma and xhat = x rstd. Operands x, dy, gamma, rstd, addend like
     * dx.
     */
    record RmsNormGradInput(Operand addend) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4 + addend.count());
            Rules.same("the gradient type of x", in.get(0).gradient(), "dy", in.get(1));
            Rules.dtype("rstd", in.get(3), DType.F32);
            Rules.weightBeside("gamma", in.get(2), in.get(0));
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(4), "dy", in.get(1));
            }
            return List.of(in.get(1));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 8.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT
                    ? List.of(Alias.allowed(0, 1), Alias.allowed(0, 4))
                    : List.of(Alias.allowed(0, 1));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] dx = addend == Operand.PRESENT ? in.get(4).clone() : new double[in.get(0).length];
            for (int r = 0; r < dx.length / width; r++) {
                double rstd = in.get(3)[r];
                double meanGx = 0;
                for (int i = r * width; i < (r + 1) * width; i++) {
                    meanGx += in.get(1)[i] * in.get(2)[i % width] * in.get(0)[i] * rstd / width;
                }
                for (int i = r * width; i < (r + 1) * width; i++) {
                    dx[i] += rstd * (in.get(1)[i] * in.get(2)[i % width] - in.get(0)[i] * rstd * meanGx);
                }
            }
            return List.of(dx);
        }
    }

    /** dgamma = sum over rows of dy x rstd (+ addend), f32. Operands x, dy, rstd, addend [D]. */
    record RmsNormGradParameters(Operand addend) implements Norm {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3 + addend.count());
            TensorType x = in.get(0);
            Rules.same("the gradient type of x", x.gradient(), "dy", in.get(1));
            Rules.dtype("rstd", in.get(2), DType.F32);
            TensorType result =
                    Rules.weightGradient(DType.F32, Shape.of(x.shape().width()), x, in.get(1));
            if (addend == Operand.PRESENT) {
                Rules.same("the sum for gamma", in.get(3), "its gradient", result);
            }
            return List.of(result);
        }

        @Override
        public double flops(List<TensorType> in) {
            return 3.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.allowed(0, 3)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] dgamma = addend == Operand.PRESENT ? in.get(3).clone() : new double[width];
            for (int i = 0; i < in.get(0).length; i++) {
                dgamma[i % width] += in.get(1)[i] * in.get(0)[i] * in.get(2)[i / width];
            }
            return List.of(dgamma);
        }
    }
}
