package io.brazier.program;

import io.brazier.tensor.TensorType;
import java.util.List;
import java.util.stream.Collectors;

/**
 * An op applied to values.
 *
 * @param path module that wrote it, for example {@code h.3.mlp.c_fc}
 */
public record Instruction(Op op, List<Value> inputs, List<Value> outputs, String path) {

    public Instruction {
        inputs = List.copyOf(inputs);
        outputs = List.copyOf(outputs);
    }

    public List<TensorType> inputTypes() {
        return inputs.stream().map(Value::type).toList();
    }

    public double flops() {
        return op.flops(inputTypes());
    }

    public double bytes() {
        return op.bytes(inputTypes());
    }

    @Override
    public String toString() {
        String attributes = op.toString();
        attributes = attributes.substring(attributes.indexOf('['));
        return outputs.stream().map(v -> v + ": " + v.type()).collect(Collectors.joining(", "))
                + " = "
                + op.mnemonic()
                + (attributes.equals("[]") ? "" : attributes)
                + inputs.stream().map(Value::toString).collect(Collectors.joining(", ", "(", ")"))
                + "  // "
                + path;
    }
}
