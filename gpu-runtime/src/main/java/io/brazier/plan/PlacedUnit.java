package io.brazier.plan;

import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.plan.Units.Kind;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Flat;
import io.brazier.tensor.Group;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * A unit with its memory. Its parameters lie side by side as flat says, and every region holds a range of that: all of it, or this
 * rank's shard.
 *
 * @param numShards ranks that share it under ZeRO
 * @param shard this rank's elements
 * @param held by region
 */
public record PlacedUnit(Unit unit, Flat flat, int numShards, Range shard, Map<Region, Held> held) {

    /** Elements of the flat range that lie in a slice. */
    public record Held(Slice slice, Range elements) {
        /** Where a range of elements lies. */
        public Slice of(Range range) {
            if (range.start() < elements.start() || range.end() > elements.end()) {
                throw new AssertionError(range + " is not in " + elements);
            }
            long width = slice.bytes() / elements.length();
            return new Slice(
                    slice.region(),
                    slice.offset() + (range.start() - elements.start()) * width,
                    range.length() * width);
        }
    }

    /** Elements of parameters of one kind. */
    record Span(Kind kind, Range elements) {}

    /** Takes the memory that a layout gives to a unit. */
    static PlacedUnit place(Unit unit, RankView view, Layout layout, MemoryPlanner memory) {
        int size = view.mesh().size(unit.group());
        Flat flat = Flat.of(shapes(unit, view), size);
        long share = flat.numElements() / size;
        Range whole = new Range(0, flat.numElements());
        Range shard = new Range(view.mesh().coordinate(view.rank(), unit.group()) * share, share);
        int zero = layout.zeroStage();
        boolean lowers = layout.precision().hasMasters();
        Map<Region, Held> held = new EnumMap<>(Region.class);
        hold(held, memory, Region.WEIGHTS, zero < 3 ? whole : shard, lowers ? DType.BF16 : DType.F32);
        if (lowers) {
            hold(held, memory, Region.MASTERS, zero < 1 ? whole : shard, DType.F32);
        }
        hold(held, memory, Region.GRADIENTS, zero < 2 ? whole : shard, DType.F32);
        hold(held, memory, Region.FIRST_MOMENTS, zero < 1 ? whole : shard, DType.F32);
        hold(held, memory, Region.SECOND_MOMENTS, zero < 1 ? whole : shard, DType.F32);
        return new PlacedUnit(unit, flat, size, zero < 1 ? whole : shard, held);
    }

    private static void hold(Map<Region, Held> held, MemoryPlanner memory, Region region, Range elements, DType dtype) {
        held.put(region, new Held(memory.reserve(region, elements.length() * dtype.bytes()), elements));
    }

    private static List<Shape> shapes(Unit unit, RankView view) {
        return unit.parameters().stream()
                .map(spec -> spec.shard(view.mesh(), view.rank()).shape())
                .toList();
    }

    /** The f32 weights that the optimizer updates. */
    public Slice masters() {
        return held.getOrDefault(Region.MASTERS, held.get(Region.WEIGHTS)).of(shard);
    }

    /** Elements of a parameter. */
    public Range elements(ParameterSpec spec, long numElements) {
        return new Range(flat.offsets().get(unit.parameters().indexOf(spec)), numElements);
    }

    /** Ranks that keep the same elements of a parameter. */
    public Group replicas(ParameterSpec spec, RankView view) {
        Group data = shard.length() < flat.numElements() ? Group.of() : unit.group();
        return spec.isCut(Axis.TP) ? data : data.union(view.tensor());
    }

    /** The shard's parts by kind, gaps between parameters included. */
    List<Span> spans(RankView view) {
        List<Span> spans = new ArrayList<>();
        List<ParameterSpec> specs = unit.parameters();
        for (int x = 0; x < specs.size(); x++) {
            Kind kind = Kind.of(specs.get(x), view);
            int next = x + 1;
            while (next < specs.size() && Kind.of(specs.get(next), view).equals(kind)) {
                next++;
            }
            long from = Math.max(flat.offsets().get(x), shard.start());
            long to = Math.min(next < specs.size() ? flat.offsets().get(next) : flat.numElements(), shard.end());
            if (from < to) {
                spans.add(new Span(kind, new Range(from, to - from)));
            }
            x = next - 1;
        }
        return spans;
    }
}
