package io.brazier.nn;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;

/**
 * A parameter before it has memory.
 *
 * @param name path, also the tensor's name in checkpoints
 * @param shape of the whole parameter
 * @param standardDeviation of the normal draw for {@link Init#NORMAL}
 * @param cuts how ranks share it
 * @param besideSequence whether it works on hidden states that sequence parallelism splits over tp, so that its gradient is then a
 *     partial sum over tp (arXiv:2205.05198, sec. 4.2.2)
 */
public record ParameterSpec(
        String name, Shape shape, Init init, double standardDeviation, List<Cut> cuts, boolean besideSequence) {

    public ParameterSpec {
        cuts = List.copyOf(cuts);
    }

    /** First value of a parameter. */
    public enum Init {
        NORMAL,
        ZEROS,
        ONES
    }

    /**
     * A dim that the ranks of an axis share.
     *
     * @param parts sizes that the dim is made of, for example queries, keys and values; each is cut by itself
     */
    public record Cut(Axis axis, int dim, List<Long> parts) {
        public Cut {
            parts = List.copyOf(parts);
        }

        /** What rank index of size holds. Every rank but the last ones of an uneven cut gets equally much. */
        List<Range> ranges(int index, int size) {
            List<Range> ranges = new ArrayList<>();
            long start = 0;
            for (long part : parts) {
                long share = (part + size - 1) / size;
                long begin = Math.min(part, index * share);
                long end = Math.min(part, begin + share);
                ranges.add(new Range(start + begin, end - begin));
                start += part;
            }
            return ranges;
        }
    }

    public static ParameterSpec normal(String name, double standardDeviation, long... dims) {
        return new ParameterSpec(name, Shape.of(dims), Init.NORMAL, standardDeviation, List.of(), false);
    }

    public static ParameterSpec constant(String name, Init init, long... dims) {
        return new ParameterSpec(name, Shape.of(dims), init, 0, List.of(), false);
    }

    /** This parameter with a dim cut as a whole. */
    public ParameterSpec cut(Axis axis, int dim) {
        return cut(axis, dim, List.of(shape.dim(dim)));
    }

    /** This parameter with a dim cut part by part. */
    public ParameterSpec cut(Axis axis, int dim, List<Long> parts) {
        List<Cut> more = new ArrayList<>(cuts);
        more.add(new Cut(axis, dim, parts));
        return new ParameterSpec(name, shape, init, standardDeviation, more, besideSequence);
    }

    /** This parameter, used beside the sequence-parallel part of the hidden states. */
    public ParameterSpec atSequence() {
        return new ParameterSpec(name, shape, init, standardDeviation, cuts, true);
    }

    /** Whether decoupled weight decay applies: to matrices, not to biases and norms. */
    public boolean decays() {
        return shape.rank() > 1;
    }

    /** Whether the ranks of an axis hold different parts. */
    public boolean isCut(Axis axis) {
        return cuts.stream().anyMatch(c -> c.axis() == axis);
    }

    /** What a rank holds. */
    public Shard shard(Mesh mesh, int rank) {
        Shard shard = Shard.whole(shape);
        for (Cut cut : cuts) {
            shard = shard.with(cut.dim(), cut.ranges(mesh.coordinate(rank, cut.axis()), mesh.size(cut.axis())));
        }
        return shard;
    }

    /** Type of a rank's part. */
    public TensorType type(Mesh mesh, int rank) {
        TensorType type = new TensorType(DType.F32, shard(mesh, rank).shape(), Map.of());
        for (Cut cut : cuts) {
            if (mesh.size(cut.axis()) > 1) {
                type = type.with(cut.axis(), Placement.shard(cut.dim()));
            }
        }
        return type;
    }
}
