package io.brazier.tensor;

import java.util.Arrays;
import java.util.EnumSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * Ranks of the mesh that differ only in some axes, in rank order: the members of a collective.
 *
 * @param axes the axes along which the members differ, outermost first
 * @param pipelineEnds of the ranks along pp only the first and the last
 */
public record Group(List<Axis> axes, boolean pipelineEnds) {

    /** First and last stage of a pipeline, which share tied embeddings. */
    public static final Group PIPELINE_ENDS = new Group(List.of(Axis.PP), true);

    public Group {
        axes = axes.stream().distinct().sorted().toList();
    }

    public static Group of(Axis... axes) {
        return new Group(Arrays.asList(axes), false);
    }

    public static Group of(Set<Axis> axes) {
        return new Group(List.copyOf(axes), false);
    }

    /** The members of both. */
    public Group union(Group other) {
        Set<Axis> all = EnumSet.noneOf(Axis.class);
        all.addAll(axes);
        all.addAll(other.axes);
        return of(all);
    }

    public boolean isEmpty() {
        return axes.isEmpty();
    }

    /** For example {@code dp+cp}. */
    @Override
    public String toString() {
        return pipelineEnds ? "pp ends" : axes.stream().map(Axis::toString).collect(Collectors.joining("+"));
    }
}
