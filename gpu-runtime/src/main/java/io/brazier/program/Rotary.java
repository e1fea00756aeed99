package io.brazier.program;

import io.brazier.program.Attention.Heads;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.List;

/**
 * Rotary position embedding (arXiv:2104.09864, sec. 3.2) of the fused projection. Operands qkv [B, T, (H + 2 G) K] and positions i32
 * [B, T] -> qkv with the heads of q and k rotated, in place if one likes. Element i < K / 2 of a head pairs with element i + K / 2
 * (Hugging Face's half-split convention, not neighbours): the pair (a, b) at position t becomes (a cos - b sin, b cos + a sin) of the
 * angle t f_i, f_i = scaling(theta^(-2 i / K)). Samples (S0), tokens (S1) and heads (S2) may be sharded; positions are split as
 * samples and tokens are. Backward keeps positions alone.
 *
 * @param theta base of the frequencies, 10000 in the paper
 */
public record Rotary(Heads heads, double theta, RotaryScaling scaling) implements Attention {

    public Rotary {
        Rules.require(heads.width() % 2 == 0, "width " + heads.width() + " of a rotated head must be even");
        Rules.require(theta > 1, "theta " + theta + " must be above 1");
    }

    /** Angular frequencies f_i of the K / 2 pairs of a head, in radians per position. */
    public double[] frequencies() {
        double[] f = new double[heads.width() / 2];
        for (int i = 0; i < f.length; i++) {
            f[i] = scaling.frequency(Math.pow(theta, -2.0 * i / heads.width()));
        }
        return f;
    }

    @Override
    public List<TensorType> infer(List<TensorType> in) {
        Rules.count(in, 2);
        TensorType qkv = in.get(0);
        TensorType positions = in.get(1);
        heads.check(qkv);
        Rules.dtype("positions", positions, DType.I32);
        Rules.shape("positions", positions, qkv.shape().dim(0), qkv.shape().dim(1));
        for (Axis axis : Axis.values()) {
            boolean rows =
                    qkv.on(axis).equals(Placement.shard(0)) || qkv.on(axis).equals(Placement.shard(1));
            boolean split = positions.on(axis) instanceof Placement.Sharded;
            Rules.require(
                    rows ? positions.on(axis).equals(qkv.on(axis)) : !split,
                    "positions " + positions + " must be split as the samples and tokens of qkv " + qkv + " on axis "
                            + axis);
        }
        return List.of(qkv);
    }

    @Override
    public void differentiate(GradientBuilder g) {
        if (g.wants(0)) {
            g.contribute(
                    0, g.emit(new RotaryGrad(this), g.gradient(0), g.input(1)).get(0));
        }
    }

    @Override
    public double flops(List<TensorType> in) {
        return 3.0 * rotated(in);
    }

    /** In place, v is not touched. */
    @Override
    public double bytes(List<TensorType> in) {
        return 2.0 * rotated(in) * in.get(0).dtype().bytes() + in.get(1).bytes();
    }

    private double rotated(List<TensorType> in) {
        return (double) in.get(1).shape().numElements() * (heads.heads() + heads.groups()) * heads.width();
    }

    @Override
    public List<Alias> aliases() {
        return List.of(Alias.allowed(0, 0));
    }

    @Override
    public List<double[]> reference(List<TensorType> types, List<double[]> in) {
        return rotate(in.get(0), in.get(1), 1);
    }

    private List<double[]> rotate(double[] qkv, double[] positions, int direction) {
        double[] y = qkv.clone();
        double[] frequencies = frequencies();
        int half = heads.width() / 2;
        for (int row = 0; row < positions.length; row++) {
            for (int h = 0; h < heads.heads() + heads.groups(); h++) {
                for (int i = 0; i < half; i++) {
                    int a = (int) (row * heads.fused()) + h * heads.width() + i;
                    double angle = direction * positions[row] * frequencies[i];
                    y[a] = qkv[a] * Math.cos(angle) - qkv[a + half] * Math.sin(angle);
                    y[a + half] = qkv[a + half] * Math.cos(angle) + qkv[a] * Math.sin(angle);
                }
            }
        }
        return List.of(y);
    }

    /** dqkv of {@link Rotary}: the rotation by the negative angles. Operands dqkv, positions. */
    public record RotaryGrad(Rotary rotary) implements Attention {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            return rotary.infer(in);
        }

        @Override
        public double flops(List<TensorType> in) {
            return rotary.flops(in);
        }

        @Override
        public double bytes(List<TensorType> in) {
            return rotary.bytes(in);
        }

        @Override
        public List<Alias> aliases() {
            return rotary.aliases();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return rotary.rotate(in.get(0), in.get(1), -1);
        }
    }
}
