package io.brazier.tensor;

/** Axes of the mesh, outermost first: data, pipeline, context, expert, tensor parallel. */
public enum Axis {
    DP,
    PP,
    CP,
    EP,
    TP;

    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT);
    }
}
