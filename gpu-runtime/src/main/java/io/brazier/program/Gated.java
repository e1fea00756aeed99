package io.brazier.program;

import io.brazier.program.Elementwise.Function;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.List;

/**
 * y = f(gate) up, a gated unit: SwiGLU for SILU, GeGLU for GELU_TANH (arXiv:2002.05202, sec. 2). x [..., 2 F] = gate and up
 * side by side -> y [..., F]. Where the last dim is sharded, each half is: a rank holds its columns of gate, then its columns
 * of up. Backward keeps x.
 */
public record Gated(Function function) implements Elementwise {

    public Gated {
        Rules.require(
                function == Function.SILU || function == Function.GELU_TANH,
                "function " + function + " of a gated unit must be SILU or GELU_TANH");
    }

    @Override
    public List<TensorType> infer(List<TensorType> in) {
        Rules.count(in, 1);
        TensorType x = in.get(0);
        Rules.floating("x", x);
        Rules.require(x.shape().width() % 2 == 0, "x " + x + " must hold gate and up of one width side by side");
        Rules.require(!x.placements().containsValue(Placement.P), "x " + x + " is a partial sum: all-reduce it first");
        return List.of(new TensorType(x.dtype(), x.shape().withWidth(x.shape().width() / 2), x.placements()));
    }

    @Override
    public void differentiate(GradientBuilder g) {
        if (g.wants(0)) {
            g.contribute(
                    0,
                    g.emit(new GatedGrad(function), g.input(0), g.gradient(0)).get(0));
        }
    }

    @Override
    public double flops(List<TensorType> in) {
        return (function.valueFlops() + 1.0) * infer(in).get(0).shape().numElements();
    }

    @Override
    public List<double[]> reference(List<TensorType> types, List<double[]> in) {
        int width = (int) types.get(0).shape().width() / 2;
        double[] y = new double[in.get(0).length / 2];
        for (int i = 0; i < y.length; i++) {
            int gate = i / width * 2 * width + i % width;
            y[i] = function.value(in.get(0)[gate]) * in.get(0)[gate + width];
        }
        return List.of(y);
    }

    /** dgate = dy up f'(gate), dup = dy f(gate), side by side like x; operands x [..., 2 F], dy [..., F]. */
    public record GatedGrad(Function function) implements Elementwise {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            Rules.same(
                    "the gradient type of y",
                    new Gated(function).infer(in.subList(0, 1)).get(0).gradient(),
                    "dy",
                    in.get(1));
            return List.of(in.get(0).gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            // Two products with the slope, one with the value.
            return (function.slopeFlops() + function.valueFlops() + 3.0)
                    * in.get(1).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width() / 2;
            double[] dx = new double[in.get(0).length];
            for (int i = 0; i < in.get(1).length; i++) {
                int gate = i / width * 2 * width + i % width;
                double dy = in.get(1)[i];
                dx[gate] = dy * in.get(0)[gate + width] * function.slope(in.get(0)[gate]);
                dx[gate + width] = dy * function.value(in.get(0)[gate]);
            }
            return List.of(dx);
        }
    }
}
