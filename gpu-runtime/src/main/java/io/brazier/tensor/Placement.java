package io.brazier.tensor;

/**
 * Where a value stands on one mesh axis. Replicated and invariant values are equal on all ranks of the axis; they differ in
 * their gradients, which are partial sums for the first and equal for the second.
 */
public sealed interface Placement {

    /** Equal on all ranks, and so is its gradient. */
    Placement I = new Invariant();

    /** Equal on all ranks; its gradient is a partial sum. */
    Placement R = new Replicated();

    /** A partial sum: the value is the sum over the ranks. */
    Placement P = new Partial();

    /** Split along a dim. */
    static Placement shard(int dim) {
        return new Sharded(dim);
    }

    /** Placement of the gradient of a value placed here: I to I, R to P, P to R, S to S. */
    Placement gradient();

    record Invariant() implements Placement {
        @Override
        public Placement gradient() {
            return I;
        }

        @Override
        public String toString() {
            return "I";
        }
    }

    record Replicated() implements Placement {
        @Override
        public Placement gradient() {
            return P;
        }

        @Override
        public String toString() {
            return "R";
        }
    }

    record Partial() implements Placement {
        @Override
        public Placement gradient() {
            return R;
        }

        @Override
        public String toString() {
            return "P";
        }
    }

    record Sharded(int dim) implements Placement {
        @Override
        public Placement gradient() {
            return this;
        }

        @Override
        public String toString() {
            return "S" + dim;
        }
    }
}
