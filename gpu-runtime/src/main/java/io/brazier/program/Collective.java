package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Moves between placements on one mesh axis, in dual pairs: Replicate (I to R) and AllReduce (P to I), AllGather (S to R) and
 * ReduceScatter (P to S). The gradient of each is its dual (the shard_map transpose rules; arXiv:1909.08053, fig. 3 calls the
 * first pair f and g).
 *
 * <p>The plain reference is that of an axis with one rank, where each is the identity; the collectives' own tests cover more.
 */
public sealed interface Collective extends Op {
    Axis axis();

    @Override
    default double flops(List<TensorType> in) {
        return 0;
    }

    @Override
    default List<double[]> reference(List<TensorType> types, List<double[]> in) {
        return in;
    }

    /** Nothing moves; the gradient becomes a partial sum. */
    record Replicate(Axis axis) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            return List.of(move(in.get(0), axis, Placement.I, Placement.R));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new AllReduce(axis));
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 0));
        }
    }

    /** The sum over the ranks of the axis, on each of them. In place. */
    record AllReduce(Axis axis) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            return List.of(move(in.get(0), axis, Placement.P, Placement.I));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new Replicate(axis));
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(0, 0));
        }
    }

    /** Concatenates the shards of dim 0. x [N / size, ...] -> y [N, ...]. */
    record AllGather(Axis axis, int size) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType y = move(in.get(0), axis, Placement.shard(0), Placement.R);
            return List.of(resize(y, y.shape().dim(0) * size));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new ReduceScatter(axis, size));
        }
    }

    /** Sums over the ranks and keeps this rank's shard of dim 0. x [N, ...] -> y [N / size, ...]. */
    record ReduceScatter(Axis axis, int size) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType y = move(in.get(0), axis, Placement.P, Placement.shard(0));
            long rows = y.shape().dim(0);
            Rules.require(rows % size == 0, "dim 0 of " + in.get(0) + " is no multiple of the " + size + " ranks");
            return List.of(resize(y, rows / size));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new AllGather(axis, size));
        }
    }

    /** Begins the all-reduce of one bucket: values that lie side by side in memory, in place. Outputs are in flight. */
    record AllReduceStart(Axis axis, int count) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, count);
            return in.stream()
                    .map(type -> move(type, axis, Placement.P, Placement.I))
                    .toList();
        }

        @Override
        public List<Alias> aliases() {
            return inPlace(count);
        }
    }

    /** Ends what {@link AllReduceStart} began; operands are its outputs. */
    record AllReduceWait(Axis axis, int count) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, count);
            return in;
        }

        @Override
        public List<Alias> aliases() {
            return inPlace(count);
        }
    }

    private static List<Alias> inPlace(int count) {
        return IntStream.range(0, count).mapToObj(x -> Alias.required(x, x)).toList();
    }

    private static TensorType move(TensorType type, Axis axis, Placement from, Placement to) {
        Rules.require(type.on(axis).equals(from), type + " must be " + from + " on axis " + axis);
        return type.with(axis, to);
    }

    private static TensorType resize(TensorType type, long rows) {
        List<Long> dims = new ArrayList<>(type.shape().dims());
        dims.set(0, rows);
        return new TensorType(type.dtype(), new Shape(dims), type.placements());
    }

    private static void dual(GradientBuilder g, Op op) {
        if (g.wants(0)) {
            g.contribute(0, g.emit(op, g.gradient(0)).get(0));
        }
    }
}
