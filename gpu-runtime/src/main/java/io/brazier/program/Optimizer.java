package io.brazier.program;

import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/** The update of flat buckets of parameters. */
public sealed interface Optimizer extends Op {

    /**
     * out = share * sum of x^2 (+ addend), f64 [1]: a part of the squared global norm, which is the sum over the group.
     *
     * @param share 1 over the ranks of the group that hold the same x
     */
    record SquaredSum(double share, Group group, Operand addend) implements Optimizer {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1 + addend.count());
            Rules.dtype("x", in.get(0), DType.F32);
            TensorType out = TensorType.of(DType.F64, 1);
            for (Axis axis : group.axes()) {
                out = out.with(axis, Placement.P);
            }
            if (addend == Operand.PRESENT) {
                Rules.same("addend", in.get(1), "the sum", out);
            }
            return List.of(out);
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return addend == Operand.PRESENT ? List.of(Alias.required(0, 1)) : List.of();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double sum = Arrays.stream(in.get(0)).map(x -> x * x).sum();
            return List.of(new double[] {share * sum + (addend == Operand.PRESENT ? in.get(1)[0] : 0)});
        }
    }

    /**
     * AdamW with decoupled decay (arXiv:1711.05101, alg. 2). g = gradient * gradientScale; m = beta1 m + (1 - beta1) g; v = beta2 v +
     * (1 - beta2) g^2; p = p - lr (m c1 / (sqrt(v c2) + epsilon) + weightDecay p), c1 = 1 / (1 - beta1^t), c2 = 1 / (1 - beta2^t).
     * Operands p, gradient, m, v (one type) and scalars f32 [7] {lr, beta1, beta2, epsilon, gradientScale, c1, c2}; outputs p, m,
     * v in place.
     */
    record AdamW(double weightDecay) implements Optimizer {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 5);
            for (int x = 1; x < 4; x++) {
                Rules.same("p", in.get(0), List.of("gradient", "m", "v").get(x - 1), in.get(x));
            }
            Rules.dtype("p", in.get(0), DType.F32);
            Rules.dtype("scalars", in.get(4), DType.F32);
            Rules.shape("scalars", in.get(4), 7);
            return List.of(in.get(0), in.get(2), in.get(3));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 14.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 0), Alias.required(1, 2), Alias.required(2, 3));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] s = in.get(4);
            double[] p = in.get(0).clone();
            double[] m = in.get(2).clone();
            double[] v = in.get(3).clone();
            for (int i = 0; i < p.length; i++) {
                double g = in.get(1)[i] * s[4];
                m[i] = s[1] * m[i] + (1 - s[1]) * g;
                v[i] = s[2] * v[i] + (1 - s[2]) * g * g;
                p[i] -= s[0] * (m[i] * s[5] / (Math.sqrt(v[i] * s[6]) + s[3]) + weightDecay * p[i]);
            }
            return List.of(p, m, v);
        }
    }
}
