package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.Flat;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;

/**
 * Moves between placements on the axes of a group, in dual pairs: Replicate (I to R) and AllReduce (P to I), AllGather (S to R)
 * and ReduceScatter (P to S), AllToAll and itself. The gradient of each is its dual (the shard_map transpose rules;
 * arXiv:1909.08053, fig. 3 calls the first pair f and g).
 *
 * <p>The plain reference is that of a group of one rank, where each is the identity; the collectives' own tests cover more.
 */
public sealed interface Collective extends Op {
    Group group();

    @Override
    default double flops(List<TensorType> in) {
        return 0;
    }

    @Override
    default List<double[]> reference(List<TensorType> types, List<double[]> in) {
        return in;
    }

    /** Nothing moves; the gradient becomes a partial sum. */
    record Replicate(Group group) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            return List.of(move(in.get(0), group, Placement.I, Placement.R));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new AllReduce(group, 1));
        }

        @Override
        public double bytes(List<TensorType> in) {
            return 0;
        }

        @Override
        public List<Alias> aliases() {
            return inPlace(1);
        }
    }

    /** The sum over the ranks, on each of them: of count values that lie side by side in memory, in place. */
    record AllReduce(Group group, int count) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, count);
            return in.stream()
                    .map(type -> move(type, group, Placement.P, Placement.I))
                    .toList();
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new Replicate(group));
        }

        @Override
        public List<Alias> aliases() {
            return inPlace(count);
        }

        @Override
        public Neighbours neighbours() {
            return count > 1 ? Neighbours.INPUTS : Neighbours.NONE;
        }
    }

    /** Concatenates the shards of a dim. x [.., N / size, ..] -> y [.., N, ..]. */
    record AllGather(Group group, int size, int dim) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            return List.of(scale(move(in.get(0), group, Placement.shard(dim), Placement.R), dim, size, 1));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new ReduceScatter(group, size, dim));
        }
    }

    /** Sums over the ranks and keeps this rank's shard of a dim. x [.., N, ..] -> y [.., N / size, ..]. */
    record ReduceScatter(Group group, int size, int dim) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            return List.of(scale(move(in.get(0), group, Placement.P, Placement.shard(dim)), dim, 1, size));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new AllGather(group, size, dim));
        }
    }

    /** Gives up the shard of one dim for that of another. x [N, .., M / size, ..] S(from) -> y [N / size, .., M, ..] S(to). */
    record AllToAll(Group group, int size, int from, int to) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType moved = move(in.get(0), group, Placement.shard(from), Placement.shard(to));
            return List.of(scale(scale(moved, to, 1, size), from, size, 1));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            dual(g, new AllToAll(group, size, to, from));
        }
    }

    /** Gives the value to the next rank and takes that of the previous one, in a ring; it stays sharded as it is. */
    record Shift(Group group, int size) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            for (Axis axis : group.axes()) {
                Rules.require(
                        in.get(0).on(axis) instanceof Placement.Sharded,
                        in.get(0) + " is the same on all ranks of axis " + axis + ": nothing to shift");
            }
            return in;
        }
    }

    /**
     * Gathers the weights of a unit from their flat shards (arXiv:1910.02054, sec. 7.2; a {@link Flat} says how weights lie in it):
     * x [n / size] -> weights, side by side.
     *
     * @param weights their types, R on the group
     */
    record GatherWeights(Group group, int size, List<TensorType> weights) implements Collective {
        public GatherWeights {
            weights = List.copyOf(weights);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType shard = flatShard(in.get(0), group, weights, size);
            Rules.require(in.get(0).equals(shard), in.get(0) + " must be " + shard);
            return weights.stream()
                    .map(w -> new TensorType(in.get(0).dtype(), w.shape(), w.placements()))
                    .toList();
        }

        @Override
        public void differentiate(GradientBuilder g) {
            Value[] gradients =
                    IntStream.range(0, weights.size()).mapToObj(g::gradient).toArray(Value[]::new);
            g.contribute(
                    0,
                    g.emit(new ScatterGradients(group, size, weights), gradients)
                            .get(0));
        }

        @Override
        public boolean differentiatesAllOutputs() {
            return true;
        }

        @Override
        public Neighbours neighbours() {
            return Neighbours.OUTPUTS;
        }
    }

    /**
     * The dual of {@link GatherWeights}: sums the gradients of a unit, which lie side by side and are consumed, over the ranks and
     * keeps this rank's flat shard, its gaps zero.
     */
    record ScatterGradients(Group group, int size, List<TensorType> weights) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, weights.size());
            for (int x = 0; x < in.size(); x++) {
                TensorType needed = weights.get(x).gradient();
                Rules.require(
                        in.get(x).shape().equals(needed.shape())
                                && in.get(x).placements().equals(needed.placements()),
                        in.get(x) + " must be placed as " + needed);
            }
            return List.of(flatShard(in.get(0), group, weights, size));
        }

        @Override
        public Neighbours neighbours() {
            return Neighbours.INPUTS;
        }
    }

    /** Begins a collective. Its outputs are in flight until {@link Wait}, its operands in use. */
    record Start(Collective collective) implements Collective {
        @Override
        public Group group() {
            return collective.group();
        }

        @Override
        public String mnemonic() {
            return collective.mnemonic() + "_start";
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            return collective.infer(in);
        }

        @Override
        public List<Alias> aliases() {
            return collective.aliases();
        }

        @Override
        public Neighbours neighbours() {
            return collective.neighbours();
        }
    }

    /** Ends what {@link Start} began. Operands are its count outputs and then its operands, so that these outlive it; in place. */
    record Wait(Group group, int count) implements Collective {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.require(in.size() > count, "takes what was started and its operands, not " + in.size());
            return in.subList(0, count);
        }

        @Override
        public double bytes(List<TensorType> in) {
            return 0;
        }

        @Override
        public List<Alias> aliases() {
            return inPlace(count);
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return in.subList(0, count);
        }
    }

    /** Equal shards into which the neighbouring values of an op are cut; 1 where they are not. */
    static int shards(Op op) {
        if (op instanceof Start start) {
            return shards(start.collective());
        }
        if (op instanceof GatherWeights gather) {
            return gather.size();
        }
        return op instanceof ScatterGradients scatter ? scatter.size() : 1;
    }

    private static List<Alias> inPlace(int count) {
        return IntStream.range(0, count).mapToObj(x -> Alias.required(x, x)).toList();
    }

    private static TensorType flatShard(TensorType like, Group group, List<TensorType> weights, int size) {
        Flat flat = Flat.of(weights.stream().map(TensorType::shape).toList(), size);
        TensorType shard = new TensorType(like.dtype(), Shape.of(flat.numElements() / size), Map.of());
        for (Axis axis : group.axes()) {
            shard = shard.with(axis, Placement.shard(0));
        }
        return shard;
    }

    private static TensorType move(TensorType type, Group group, Placement from, Placement to) {
        for (Axis axis : group.axes()) {
            Rules.require(type.on(axis).equals(from), type + " must be " + from + " on axis " + axis);
            type = type.with(axis, to);
        }
        return type;
    }

    private static TensorType scale(TensorType type, int dim, int by, int over) {
        List<Long> dims = new ArrayList<>(type.shape().dims());
        Rules.require(
                dims.get(dim) % over == 0, "dim " + dim + " of " + type + " is no multiple of the " + over + " ranks");
        dims.set(dim, dims.get(dim) * by / over);
        return new TensorType(type.dtype(), new Shape(dims), type.placements());
    }

    private static void dual(GradientBuilder g, Op op) {
        if (g.wants(0)) {
            g.contribute(0, g.emit(op, g.gradient(0)).get(0));
        }
    }
}
