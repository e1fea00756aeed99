package io.brazier.program;

import io.brazier.tensor.TensorType;
import java.util.List;
import java.util.Locale;

/**
 * One coarse operation: type rule, gradient rule, cost, and a plain reference that is its specification. Ops are records without
 * state; a flag in the record says which optional operands its instruction carries.
 */
public sealed interface Op
        permits Matrix,
                Scaled,
                Elementwise,
                Norm,
                Attention,
                Lookup,
                Loss,
                Optimizer,
                Collective,
                Routing,
                Experts,
                Ring {

    /** Says that an output is (or may be) written over an input, which is then consumed. */
    record Alias(int output, int input, Need need) {
        /** Whether the planner may or must give both one address. */
        public enum Need {
            ALLOWED,
            REQUIRED
        }

        static Alias allowed(int output, int input) {
            return new Alias(output, input, Need.ALLOWED);
        }

        static Alias required(int output, int input) {
            return new Alias(output, input, Need.REQUIRED);
        }
    }

    /** Operands or results that must lie side by side in memory, as {@link io.brazier.tensor.Flat} lays them. */
    enum Neighbours {
        NONE,
        INPUTS,
        OUTPUTS
    }

    default Neighbours neighbours() {
        return Neighbours.NONE;
    }

    /** Whether {@link #differentiate} takes the gradients of all outputs, or of the first alone. */
    default boolean differentiatesAllOutputs() {
        return false;
    }

    /** The op's name in printed programs. */
    default String mnemonic() {
        return getClass().getSimpleName().replaceAll("(?<=[a-z])(?=[A-Z])", "_").toLowerCase(Locale.ROOT);
    }

    /**
     * Types of the outputs.
     *
     * @throws IllegalArgumentException when count, shape, dtype or placement of an input does not fit
     */
    List<TensorType> infer(List<TensorType> inputs);

    /** Adds the gradients of the inputs to the program under construction. */
    default void differentiate(GradientBuilder g) {
        throw new IllegalArgumentException(mnemonic() + " has no gradient");
    }

    /** Floating-point operations. */
    default double flops(List<TensorType> inputs) {
        return infer(inputs).get(0).shape().numElements();
    }

    /** Bytes read and written when nothing stays in a cache. */
    default double bytes(List<TensorType> inputs) {
        return inputs.stream().mapToDouble(TensorType::bytes).sum()
                + infer(inputs).stream().mapToDouble(TensorType::bytes).sum();
    }

    /** Outputs that may share an input's address. */
    default List<Alias> aliases() {
        return List.of();
    }

    /** The specification: outputs in double precision from inputs in double precision, both row-major. */
    List<double[]> reference(List<TensorType> types, List<double[]> inputs);
}
