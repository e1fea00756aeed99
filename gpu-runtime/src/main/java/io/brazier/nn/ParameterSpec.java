package io.brazier.nn;

import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.Map;

/**
 * A parameter before it has memory.
 *
 * @param name path, also the tensor's name in Hugging Face files
 * @param standardDeviation of the normal draw for {@link Init#NORMAL}
 */
public record ParameterSpec(String name, Shape shape, Init init, double standardDeviation) {

    /** First value of a parameter. */
    public enum Init {
        NORMAL,
        ZEROS,
        ONES
    }

    /** Whether decoupled weight decay applies: to matrices, not to biases and norms. */
    public boolean decays() {
        return shape.rank() > 1;
    }

    public TensorType type() {
        return new TensorType(DType.F32, shape, Map.of());
    }
}
