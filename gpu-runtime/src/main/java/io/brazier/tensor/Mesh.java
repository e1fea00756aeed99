package io.brazier.tensor;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * The grid of ranks. tp varies fastest, dp slowest, so that ranks in host order keep a tensor-parallel group inside one host.
 *
 * @param dp data-parallel size
 * @param pp pipeline-parallel size
 * @param cp context-parallel size
 * @param ep expert-parallel size
 * @param tp tensor-parallel size
 */
public record Mesh(int dp, int pp, int cp, int ep, int tp) implements java.io.Serializable {

    public Mesh {
        if (dp < 1 || pp < 1 || cp < 1 || ep < 1 || tp < 1) {
            throw new IllegalArgumentException("mesh dp " + dp + ", pp " + pp + ", cp " + cp + ", ep " + ep + ", tp "
                    + tp + ": every axis needs at least 1 rank");
        }
    }

    public static Mesh dataParallel(int dp) {
        return new Mesh(dp, 1, 1, 1, 1);
    }

    /** @throws IllegalArgumentException unless there are as many ranks as this mesh has */
    public void requireRanks(int found) {
        if (found != worldSize()) {
            throw new IllegalArgumentException(this + " = " + worldSize() + " ranks, but there are " + found);
        }
    }

    public int size(Axis axis) {
        return switch (axis) {
            case DP -> dp;
            case PP -> pp;
            case CP -> cp;
            case EP -> ep;
            case TP -> tp;
        };
    }

    public int worldSize() {
        return Math.multiplyExact(Math.multiplyExact(dp, pp), Math.multiplyExact(Math.multiplyExact(cp, ep), tp));
    }

    /** Index of a rank along an axis. */
    public int coordinate(int rank, Axis axis) {
        if (rank < 0 || rank >= worldSize()) {
            throw new IllegalArgumentException("rank " + rank + " is not one of the " + worldSize() + " of " + this);
        }
        return rank / stride(axis) % size(axis);
    }

    /** Distance of neighbours along an axis. */
    private int stride(Axis axis) {
        int stride = 1;
        for (int x = Axis.values().length - 1; x > axis.ordinal(); x--) {
            stride *= size(Axis.values()[x]);
        }
        return stride;
    }

    /** Number of ranks of a group. */
    public int size(Group group) {
        return group.pipelineEnds()
                ? Math.min(pp, 2)
                : group.axes().stream().mapToInt(this::size).reduce(1, Math::multiplyExact);
    }

    /** Members of a rank's group, in rank order. */
    public List<Integer> members(int rank, Group group) {
        List<Integer> members = List.of(rank);
        for (Axis axis : group.axes()) {
            int step = group.pipelineEnds() ? Math.max(1, pp - 1) : 1;
            members = members.stream()
                    .flatMap(m -> IntStream.iterate(0, x -> x < size(axis), x -> x + step)
                            .mapToObj(x -> m + (x - coordinate(rank, axis)) * stride(axis)))
                    .toList();
        }
        return members;
    }

    /** Place of a rank among the members of its group. */
    public int coordinate(int rank, Group group) {
        if (group.pipelineEnds()) {
            return coordinate(rank, Axis.PP) == 0 ? 0 : 1;
        }
        int index = 0;
        for (Axis axis : group.axes()) {
            index = index * size(axis) + coordinate(rank, axis);
        }
        return index;
    }

    /** The axes among these that have more than one rank. */
    public Group group(Axis... axes) {
        return new Group(Arrays.stream(axes).filter(axis -> size(axis) > 1).toList(), false);
    }

    @Override
    public String toString() {
        return "dp " + dp + " * pp " + pp + " * cp " + cp + " * ep " + ep + " * tp " + tp;
    }
}
