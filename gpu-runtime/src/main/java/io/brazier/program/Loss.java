package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/** Cross-entropy fused with softmax: probabilities are never stored. A target of -1 takes no loss. */
public sealed interface Loss extends Op {

    /**
     * loss = scale sum over rows of (lse - logits[target]), lse = log sum exp(logits). logits [..., V], targets i32 [...] -> loss
     * f32 [1], lse [...]. Rows S -> loss P. Backward keeps logits, lse, targets.
     */
    record CrossEntropy(double scale) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            checkRows(in.get(0), in.get(1));
            TensorType loss = TensorType.of(DType.F32, 1);
            for (Axis axis : Axis.values()) {
                Placement p = in.get(0).on(axis);
                loss = loss.with(axis, p instanceof Placement.Sharded ? Placement.P : p);
            }
            return List.of(loss, Rules.perRow(in.get(0)));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new CrossEntropyGrad(scale), g.input(0), g.output(1), g.input(1), g.gradient(0))
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
            double[] lse = new double[in.get(1).length];
            double loss = 0;
            for (int r = 0; r < lse.length; r++) {
                lse[r] = logSumExp(in.get(0), r, width);
                int target = (int) in.get(1)[r];
                loss += target < 0 ? 0 : scale * (lse[r] - in.get(0)[r * width + target]);
            }
            return List.of(new double[] {loss}, lse);
        }
    }

    /** dlogits = (exp(logits - lse) - onehot(target)) scale dloss, 0 where target is -1. Operands logits, lse, targets, dloss [1]. */
    record CrossEntropyGrad(double scale) implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            checkRows(in.get(0), in.get(2));
            return List.of(in.get(0).gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] d = new double[in.get(0).length];
            for (int i = 0; i < d.length; i++) {
                int target = (int) in.get(2)[i / width];
                double p = Math.exp(in.get(0)[i] - in.get(1)[i / width]) - (target == i % width ? 1 : 0);
                d[i] = target < 0 ? 0 : p * scale * in.get(3)[0];
            }
            return List.of(d);
        }
    }

    /** out = logits[target] - lse, the log-likelihood of each target, 0 where target is -1. logits [..., V], targets [...]. */
    record TokenLogLikelihood() implements Loss {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            checkRows(in.get(0), in.get(1));
            return List.of(Rules.perRow(in.get(0)));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] out = new double[in.get(1).length];
            for (int r = 0; r < out.length; r++) {
                int target = (int) in.get(1)[r];
                out[r] = target < 0 ? 0 : in.get(0)[r * width + target] - logSumExp(in.get(0), r, width);
            }
            return List.of(out);
        }
    }

    private static void checkRows(TensorType logits, TensorType targets) {
        Rules.dtype("logits", logits, DType.F32);
        Rules.dtype("targets", targets, DType.I32);
        Rules.wholeRows("logits", logits);
        TensorType rows = Rules.perRow(logits);
        Rules.require(
                targets.shape().equals(rows.shape()),
                "targets " + targets + " must have one id for each row of logits " + logits);
    }

    private static double logSumExp(double[] logits, int row, int width) {
        double[] x = Arrays.copyOfRange(logits, row * width, (row + 1) * width);
        double max = Arrays.stream(x).max().orElseThrow();
        return max + Math.log(Arrays.stream(x).map(v -> Math.exp(v - max)).sum());
    }
}
