package io.brazier.plan;

/** The parts of a rank's arena, in the order in which they lie there. */
public enum Region {
    WEIGHTS,
    MASTERS,
    GRADIENTS,
    FIRST_MOMENTS,
    SECOND_MOMENTS,
    SCALES,
    CACHE,
    INPUTS,
    STASH,
    SCRATCH;

    @Override
    public String toString() {
        return name().toLowerCase(java.util.Locale.ROOT).replace('_', ' ');
    }
}
