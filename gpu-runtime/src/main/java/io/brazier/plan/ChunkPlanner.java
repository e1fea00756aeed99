package io.brazier.plan;

import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.pass.Bucket;
import io.brazier.pass.Overlap;
import io.brazier.pass.RingExpansion;
import io.brazier.pass.SplitBackward;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Instruction;
import io.brazier.program.Op.Alias;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Range;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/** Plans the forward, backward and evaluation segments of one virtual stage. */
final class ChunkPlanner {
    /** Units whose weights are gathered ahead of their use. */
    private static final int PREFETCHED_UNITS = 1;

    private final Request request;
    private final RankView view;
    private final String suffix;
    private final int virtualStage;
    private final List<Integer> pieces;
    private final List<PlacedUnit> units;
    private final MemoryPlanner memory;
    private final NamedInputs named;
    private final Map<String, Segment> segments = new LinkedHashMap<>();
    private final Map<String, Slice> slot = new HashMap<>();
    private final List<Slice> carried = new ArrayList<>();
    private ChunkProgram program;
    private long slotBytes;

    ChunkPlanner(
            Request request,
            int chunk,
            List<Integer> pieces,
            List<PlacedUnit> units,
            MemoryPlanner memory,
            NamedInputs named) {
        this.request = request;
        this.view = request.view();
        this.suffix = chunk == 0 ? "" : "." + chunk;
        this.virtualStage = chunk * view.mesh().pp() + view.coordinate(io.brazier.tensor.Axis.PP);
        this.pieces = pieces;
        this.units = units;
        this.memory = memory;
        this.named = named;
    }

    boolean isFirst() {
        return virtualStage == 0;
    }

    boolean isLast() {
        return virtualStage == request.layout().numVirtualStages() - 1;
    }

    int virtualStage() {
        return virtualStage;
    }

    String forward() {
        return TrainingPlan.FORWARD + suffix;
    }

    String evaluate() {
        return TrainingPlan.EVALUATE + suffix;
    }

    String suffix() {
        return suffix;
    }

    /** What the host writes into a slot. */
    Map<String, Slice> feeds() {
        Map<String, Slice> feeds = new HashMap<>(slot);
        feeds.keySet().retainAll(List.of("tokens", "targets", "rng"));
        return feeds;
    }

    /** Distance between the stash slots. */
    long slotBytes() {
        return slotBytes;
    }

    /** Segment of a whole backward phase. */
    String backward(boolean first, boolean last) {
        return "backward" + suffix + (first ? "" : ".accumulate") + (reduces(last) ? ".reduce" : "");
    }

    /** Segments of the input and of the weight gradients of a backward phase that is split. */
    String backwardInput() {
        return "backward" + suffix + ".input";
    }

    String backwardWeight(boolean first, boolean last) {
        return backward(first, last) + ".weight";
    }

    /** Segment of the reductions that do not overlap with backward, or empty. */
    Optional<String> reduce() {
        return reducesApart() ? Optional.of("reduce" + suffix) : Optional.empty();
    }

    /** In a pipeline the stage before waits for the last input gradient, and must not wait for reductions too. */
    private boolean reducesApart() {
        return request.layout().mesh().pp() > 1
                && request.layout().zeroStage() < 2
                && units.stream().anyMatch(u -> !u.unit().group().isEmpty());
    }

    private boolean reduces(boolean last) {
        int zero = request.layout().zeroStage();
        return (zero == 2 || zero < 2 && last && !reducesApart())
                && units.stream().anyMatch(u -> !u.unit().group().isEmpty());
    }

    /** Place in a slot: tokens, targets, rng, x (received), y (sent), y.gradient, x.gradient; null where there is none. */
    Slice slot(String name) {
        return slot.get(name);
    }

    /** Plans for a number of stash slots and adds the segments to those of the rank. */
    void plan(int numSlots, boolean splits, Map<String, Segment> rankSegments) {
        long base = memory.sizes().getOrDefault(Region.STASH, 0L);
        Map<Value, Slice> bound = new HashMap<>();
        program = new ChunkProgram(
                forward(),
                request,
                request.layout().precision(),
                pieces,
                units,
                request.dropout(),
                request.lossScale(),
                1.0 / request.numMicroBatches());
        Value root = program.root();
        program.scales()
                .forEach(
                        v -> bound.put(v, memory.reserve(Region.SCALES, v.type().bytes())));
        bindInputs(bound, true);
        bound.put(root, isLast() ? named.reserve("loss", root.type()) : stash("y", root.type()));
        reserve(program.balanceLoss(), TrainingPlan.BALANCE_LOSS + suffix, bound);
        reserve(program.droppedTokens(), TrainingPlan.DROPPED_TOKENS + suffix, bound);
        ChunkProgram.Pair fresh = program.differentiate(Gradients.FRESH);
        bindGradients(fresh, bound);
        keep(fresh.forward(), fresh.forward().outputs(), bound);
        segments.put(forward(), memory.place(last(program.keepingBoundary(fresh)), bound));
        boolean single = request.numMicroBatches() == 1;
        placeBackward(fresh, splits, true, single, bound);
        if (!single) {
            bound.keySet().removeAll(fresh.derivative().gradients().values());
            ChunkProgram.Pair sums = program.differentiate(Gradients.ACCUMULATE);
            bindGradients(sums, bound);
            if (request.numMicroBatches() > 2) {
                placeBackward(sums, splits, false, false, bound);
            }
            placeBackward(sums, splits, false, true, bound);
        }
        reduce().ifPresent(name -> {
            List<Value> gradients = gradients(units.stream(), fresh.derivative());
            bindGradients(fresh, bound);
            Program all = new Program(name, gradients, List.of(), gradients);
            segments.put(name, memory.place(last(reduce(all, fresh.derivative(), true, bound)), bound));
        });
        slotBytes = memory.sizes().getOrDefault(Region.STASH, 0L) - base;
        memory.reserve(Region.STASH, (numSlots - 1) * slotBytes);
        segments.forEach((name, s) -> rankSegments.put(name, s.onSlots(numSlots, slotBytes)));
    }

    /** Takes places in the slot for values of a program; those that lie in one place by their ops share it. */
    private void keep(Program made, List<Value> values, Map<Value, Slice> bound) {
        Map<Value, Value> first = new HashMap<>();
        Map<Value, Slice> places = new HashMap<>();
        made.inputs().forEach(v -> first.put(v, v));
        for (Instruction i : made.instructions()) {
            i.outputs().forEach(v -> first.put(v, v));
            for (Alias alias : i.op().aliases()) {
                if (alias.need() == Alias.Need.REQUIRED) {
                    first.put(
                            i.outputs().get(alias.output()),
                            first.get(i.inputs().get(alias.input())));
                }
            }
        }
        first.forEach((v, place) -> {
            if (bound.containsKey(v)) {
                places.put(place, bound.get(v));
            }
        });
        for (Value v : values) {
            if (!bound.containsKey(v)) {
                long bytes = v.type().bytes();
                bound.put(v, places.computeIfAbsent(first.get(v), f -> memory.reserve(Region.STASH, bytes)));
            }
        }
    }

    /** The passes after which memory is planned. */
    private static Program last(Program program) {
        return Overlap.apply(RingExpansion.expand(program), PREFETCHED_UNITS);
    }

    /** Forward alone; it runs between steps, when the stash is empty, so its temporaries lie there. */
    void planEvaluation(Map<String, Segment> rankSegments) {
        Layout.Precision precision = request.layout().precision().ofEvaluation();
        program = new ChunkProgram(evaluate(), request, precision, pieces, units, 0, 1, 0);
        Value root = program.root();
        Map<Value, Slice> bound = new HashMap<>();
        bindInputs(bound, false);
        bound.put(root, named.reserve("evaluation " + (isLast() ? "loss" : "y" + suffix), root.type()));
        rankSegments.put(evaluate(), memory.place(last(program.forward()), bound, Region.STASH));
    }

    private void bindInputs(Map<Value, Slice> bound, boolean inSlot) {
        for (PlacedUnit unit : units) {
            Value shard = program.shard(unit);
            if (shard != null) {
                bound.put(shard, unit.held().get(Region.WEIGHTS).slice());
            } else {
                for (ParameterSpec spec : unit.unit().parameters()) {
                    Slice slice = place(unit, spec, Region.WEIGHTS);
                    bound.put(program.parameter(spec.name()), slice);
                    bound.put(program.weight(spec.name()), slice);
                }
            }
        }
        for (Value v : program.forward().inputs()) {
            if (bound.containsKey(v)) {
                continue;
            }
            boolean constant = v.name().endsWith("positions");
            String prefix = constant ? "" : "evaluation ";
            String name = v.name().equals(ChunkProgram.BOUNDARY) ? ChunkProgram.BOUNDARY + suffix : v.name();
            bound.put(v, inSlot && !constant ? stash(v.name(), v.type()) : named.reserve(prefix + name, v.type()));
        }
    }

    private Slice place(PlacedUnit unit, ParameterSpec spec, Region region) {
        long count = spec.shard(view.mesh(), view.rank()).shape().numElements();
        Range elements = unit.elements(spec, count);
        return unit.held().get(region).of(elements);
    }

    private void reserve(Value v, String name, Map<Value, Slice> bound) {
        if (v != null) {
            bound.put(v, named.reserve(name, v.type()));
        }
    }

    private Slice stash(String name, TensorType type) {
        return slot.computeIfAbsent(name, n -> memory.reserve(Region.STASH, type.bytes()));
    }

    private void bindGradients(ChunkProgram.Pair pair, Map<Value, Slice> bound) {
        Autodiff.Result d = pair.derivative();
        Value seed = d.seeds().get(program.root());
        if (isLast()) {
            bound.put(seed, named.reserve("loss.gradient", seed.type()));
        } else {
            // The gradient arrives after the value has left, so they share a place unless backward needs the value.
            Slice y = slot.get("y");
            boolean shares = !pair.backward().inputs().contains(program.root())
                    && y.bytes() == seed.type().bytes();
            slot.putIfAbsent(
                    "y.gradient",
                    shares ? y : memory.reserve(Region.STASH, seed.type().bytes()));
            bound.put(seed, slot.get("y.gradient"));
        }
        reserve(d.seeds().get(program.balanceLoss()), "loss.gradient", bound);
        if (!isFirst()) {
            Value gradient = d.gradients().get(program.boundary());
            bound.put(gradient, stash("x.gradient", gradient.type()));
        }
        for (PlacedUnit unit : units) {
            Value shard = program.shard(unit);
            if (shard != null) {
                bindGradient(d, shard, unit.held().get(Region.GRADIENTS).slice(), bound);
            } else if (request.layout().zeroStage() < 2 || unit.unit().group().isEmpty()) {
                for (ParameterSpec spec : unit.unit().parameters()) {
                    bindGradient(d, program.weight(spec.name()), place(unit, spec, Region.GRADIENTS), bound);
                }
            }
        }
    }

    private static void bindGradient(Autodiff.Result d, Value weight, Slice place, Map<Value, Slice> bound) {
        bound.put(d.gradients().get(weight), place);
        if (d.sums().containsKey(weight)) {
            bound.put(d.sums().get(weight), place);
        }
    }

    private void placeBackward(
            ChunkProgram.Pair pair, boolean splits, boolean first, boolean last, Map<Value, Slice> bound) {
        Program backward = pair.backward();
        String name = backward(first, last);
        if (splits) {
            Set<Value> inputGradient =
                    isFirst() ? Set.of() : Set.of(pair.derivative().gradients().get(program.boundary()));
            SplitBackward.Halves halves = SplitBackward.split(backward, inputGradient);
            carry(halves, bound);
            segments.computeIfAbsent(backwardInput(), n -> memory.place(last(halves.input()), bound));
            backward = halves.weight();
            name = backwardWeight(first, last);
        }
        if (reduces(last)) {
            backward = reduce(backward, pair.derivative(), first, bound);
        }
        segments.put(name, memory.place(last(backward), bound));
    }

    /** All variants of the weight gradients find at one place what the one segment of input gradients leaves them. */
    private void carry(SplitBackward.Halves halves, Map<Value, Slice> bound) {
        List<Value> values = halves.carried();
        if (carried.isEmpty()) {
            keep(halves.input(), values, bound);
            values.forEach(v -> carried.add(bound.get(v)));
        }
        for (int x = 0; x < values.size(); x++) {
            Value v = values.get(x);
            Slice place = bound.getOrDefault(v, carried.get(x));
            if (!place.equals(carried.get(x)) || place.bytes() != v.type().bytes()) {
                throw new AssertionError(v + " is carried at " + carried.get(x) + ", not at " + place);
            }
            bound.put(v, place);
        }
    }

    private List<Value> gradients(Stream<PlacedUnit> of, Autodiff.Result d) {
        return of.flatMap(unit -> program.weights(unit).stream())
                .map(w -> d.gradients().get(w))
                .toList();
    }

    private Program reduce(Program backward, Autodiff.Result d, boolean first, Map<Value, Slice> bound) {
        List<PlacedUnit> reduced =
                units.stream().filter(unit -> !unit.unit().group().isEmpty()).toList();
        List<Bucket.Reduction> reductions = new ArrayList<>();
        ProgramBuilder sums = new ProgramBuilder("sums", ProgramBuilder.nextId(backward));
        for (PlacedUnit unit : reduced) {
            reductions.add(reduction(unit, gradients(Stream.of(unit), d), first, sums, bound));
        }
        Bucket.Result result = Bucket.overlap(backward, reductions);
        for (int x = 0; x < reduced.size(); x++) {
            List<Value> out = result.reduced().get(x);
            if (request.layout().zeroStage() == 0) {
                for (int g = 0; g < out.size(); g++) {
                    bound.put(
                            out.get(g), bound.get(reductions.get(x).gradients().get(g)));
                }
            } else {
                bound.put(out.get(0), gradientShard(reduced.get(x)));
            }
        }
        return result.program();
    }

    private Bucket.Reduction reduction(
            PlacedUnit unit, List<Value> gradients, boolean first, ProgramBuilder sums, Map<Value, Slice> bound) {
        if (request.layout().zeroStage() == 0) {
            return new Bucket.Reduction(
                    gradients, new AllReduce(unit.unit().group(), gradients.size()), Optional.empty());
        }
        List<TensorType> types = program.weights(unit).stream().map(Value::type).toList();
        ScatterGradients scatter = new ScatterGradients(unit.unit().group(), unit.numShards(), types);
        boolean accumulates = request.layout().zeroStage() == 2 && !first;
        if (!accumulates) {
            return new Bucket.Reduction(gradients, scatter, Optional.empty());
        }
        TensorType shard =
                scatter.infer(gradients.stream().map(Value::type).toList()).get(0);
        Value sum = sums.input("sum." + unit.unit().name(), shard);
        bound.put(sum, gradientShard(unit));
        return new Bucket.Reduction(gradients, scatter, Optional.of(sum));
    }

    private static Slice gradientShard(PlacedUnit unit) {
        return unit.held().get(Region.GRADIENTS).of(unit.shard());
    }
}
