package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.ActivateGrad;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Gated;
import io.brazier.program.Value;
import io.brazier.tensor.Shape;
import java.util.Locale;

/** Launches of activation.cu. */
final class CudaActivations {
    private static final String FILE = "activation.cu";

    private CudaActivations() {}

    static void putInto(CudaBackend backend) {
        backend.put(Activate.class, (op, i, a) -> {
            Value y = i.outputs().get(0);
            return backend.launch(FILE, name(op.function()) + suffix(y))
                    .over(CudaElementwise.vectors(y))
                    .pointers(a.input(0), a.output(0))
                    .longs(shape(i, 0).numElements())
                    .build();
        });
        backend.put(ActivateGrad.class, (op, i, a) -> {
            Value dx = i.outputs().get(0);
            return backend.launch(FILE, name(op.function()) + "_grad" + suffix(dx))
                    .over(CudaElementwise.vectors(dx))
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .longs(shape(i, 0).numElements())
                    .build();
        });
        backend.put(Gated.class, (op, i, a) -> {
            Value y = i.outputs().get(0);
            Shape s = y.type().shape();
            return backend.launch(FILE, "gated_" + name(op.function()) + suffix(y))
                    .over(CudaElementwise.vectors(y))
                    .pointers(a.input(0), a.output(0))
                    .longs(s.rows(), s.width())
                    .build();
        });
        backend.put(Gated.GatedGrad.class, (op, i, a) -> {
            Value dy = i.inputs().get(1);
            Shape s = dy.type().shape();
            return backend.launch(FILE, "gated_" + name(op.function()) + "_grad" + suffix(dy))
                    .over(CudaElementwise.vectors(dy))
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .longs(s.rows(), s.width())
                    .build();
        });
    }

    private static String name(Function function) {
        return function.name().toLowerCase(Locale.ROOT);
    }
}
