package io.brazier.program;

/** What an op's gradient rule sees: the forward instruction, the gradients of its outputs, and the program being built. */
public interface GradientBuilder {

    /** Forward value that was input x. */
    Value input(int x);

    /** Forward value that was output x. */
    Value output(int x);

    /** Gradient of output x. */
    Value gradient(int x);

    /** Whether somebody wants the gradient of input x. */
    boolean wants(int x);

    /** Sum of the gradients of input x found so far, or null. */
    Value partial(int x);

    /** Appends an instruction and returns its outputs. */
    java.util.List<Value> emit(Op op, Value... inputs);

    /** Replaces the sum of input x by a value that already contains it. */
    void replace(int x, Value sum);

    /** Adds a gradient to the sum of input x. */
    default void contribute(int x, Value gradient) {
        Value partial = partial(x);
        replace(
                x,
                partial == null
                        ? gradient
                        : emit(new Elementwise.Add(), partial, gradient).get(0));
    }
}
