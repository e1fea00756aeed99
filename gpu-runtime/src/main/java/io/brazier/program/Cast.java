package io.brazier.program;

import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.Arrays;
import java.util.List;

/** y = x in another float type, rounded to nearest even. The gradient is cast back. */
public record Cast(DType to) implements Elementwise {
    @Override
    public List<TensorType> infer(List<TensorType> in) {
        Rules.count(in, 1);
        TensorType x = in.get(0);
        TensorType y = x.as(to);
        Rules.floating("x", x);
        Rules.floating("y", y);
        return List.of(y);
    }

    @Override
    public void differentiate(GradientBuilder g) {
        if (g.wants(0)) {
            g.contribute(
                    0,
                    g.emit(new Cast(g.input(0).type().dtype()), g.gradient(0)).get(0));
        }
    }

    @Override
    public List<double[]> reference(List<TensorType> types, List<double[]> in) {
        return List.of(
                to == DType.BF16 ? Arrays.stream(in.get(0)).map(Cast::round).toArray() : in.get(0));
    }

    /** The upper half of an f32, which its lower half may carry into. */
    private static double round(double x) {
        int bits = Float.floatToIntBits((float) x);
        return Double.isNaN(x) ? x : Float.intBitsToFloat(bits + 0x7FFF + (bits >>> 16 & 1) & 0xFFFF0000);
    }
}
