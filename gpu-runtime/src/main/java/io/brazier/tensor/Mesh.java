package io.brazier.tensor;

/**
 * The grid of ranks. tp varies fastest, dp slowest, so that ranks in host order keep a tensor-parallel group inside one host.
 *
 * @param dp data-parallel size
 * @param pp pipeline-parallel size
 * @param cp context-parallel size
 * @param ep expert-parallel size
 * @param tp tensor-parallel size
 */
public record Mesh(int dp, int pp, int cp, int ep, int tp) {

    public Mesh {
        if (dp < 1 || pp < 1 || cp < 1 || ep < 1 || tp < 1) {
            throw new IllegalArgumentException("mesh dp " + dp + ", pp " + pp + ", cp " + cp + ", ep " + ep + ", tp "
                    + tp + ": every axis needs at least 1 rank");
        }
    }

    public static Mesh dataParallel(int dp) {
        return new Mesh(dp, 1, 1, 1, 1);
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
        int stride = 1;
        for (int x = Axis.values().length - 1; x > axis.ordinal(); x--) {
            stride *= size(Axis.values()[x]);
        }
        return rank / stride % size(axis);
    }

    @Override
    public String toString() {
        return "dp " + dp + " * pp " + pp + " * cp " + cp + " * ep " + ep + " * tp " + tp;
    }
}
