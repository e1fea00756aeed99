package io.brazier.plan;

import io.brazier.nn.RankView;
import io.brazier.program.Cast;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Optimizer.AdamW;
import io.brazier.program.Optimizer.SquaredSum;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Scaled;
import io.brazier.program.Scaled.NextScales;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Plans what follows the last backward of a step: the sums that are still missing, the global norm, the update. */
final class StepSegments {
    /** Loss, balance loss and dropped tokens. */
    static final int NUM_SUMS = 3;

    private final Request request;
    private final RankView view;
    private final List<PlacedUnit> units;
    private final List<String> tied;
    private final MemoryPlanner memory;
    private final NamedInputs named;
    private final Map<String, Segment> segments;

    StepSegments(
            Request request,
            List<PlacedUnit> units,
            MemoryPlanner memory,
            NamedInputs named,
            Map<String, Segment> segments) {
        this.request = request;
        this.view = request.view();
        this.units = units;
        this.tied = view.size(Axis.PP) > 1 ? request.model().tied() : List.of();
        this.memory = memory;
        this.named = named;
        this.segments = segments;
    }

    void plan() {
        finish();
        norm();
        scales();
        update();
        publish();
    }

    private boolean isTied(PlacedUnit unit) {
        return unit.unit().parameters().stream().anyMatch(spec -> tied.contains(spec.name()));
    }

    private static Value flat(ProgramBuilder p, Map<Value, Slice> bound, String name, Slice slice, TensorType like) {
        Value v = p.input(name, new TensorType(DType.F32, flatType(slice).shape(), like.placements()));
        bound.put(v, slice);
        return v;
    }

    private static TensorType flatType(Slice slice) {
        return TensorType.of(DType.F32, slice.bytes() / DType.F32.bytes());
    }

    private static TensorType partial(Group group) {
        TensorType type = TensorType.of(DType.F32, 1);
        for (Axis axis : group.axes()) {
            type = type.with(axis, Placement.P);
        }
        return type;
    }

    /** Sums over tp what works beside sequence-parallel states, and over the pipeline's ends what both hold. */
    private void finish() {
        ProgramBuilder p = new ProgramBuilder(TrainingPlan.FINISH);
        Map<Value, Slice> bound = new HashMap<>();
        List<Value> outputs = new ArrayList<>();
        for (PlacedUnit unit : units) {
            for (PlacedUnit.Span span : unit.spans(view)) {
                if (span.kind().besideSequence()) {
                    outputs.add(sum(p, bound, unit, span.elements(), view.tensor()));
                }
            }
            if (isTied(unit)) {
                outputs.add(sum(p, bound, unit, unit.shard(), Group.PIPELINE_ENDS));
            }
        }
        segments.put(TrainingPlan.FINISH, memory.place(p.build(outputs), bound));
    }

    private static Value sum(ProgramBuilder p, Map<Value, Slice> bound, PlacedUnit unit, Range elements, Group group) {
        Slice slice = unit.held().get(Region.GRADIENTS).of(elements);
        Value gradient = flat(p, bound, "gradients." + unit.unit().name(), slice, partial(group));
        return p.apply(new AllReduce(group, 1), gradient);
    }

    /** Squared norm, and losses with the count of dropped tokens, each one sum over all ranks. */
    private void norm() {
        ProgramBuilder p = new ProgramBuilder(TrainingPlan.NORM);
        Map<Value, Slice> bound = new HashMap<>();
        Group all = view.mesh().group(Axis.values());
        TensorType one = partial(all);
        Value loss = p.input("stepLoss", new TensorType(one.dtype(), Shape.of(NUM_SUMS), one.placements()));
        bound.put(loss, named.reserve("step loss", loss.type()));
        Value sum = null;
        for (PlacedUnit unit : units) {
            for (PlacedUnit.Span span : unit.spans(view)) {
                Slice slice = unit.held().get(Region.GRADIENTS).of(span.elements());
                Value gradient = flat(p, bound, "gradients." + unit.unit().name(), slice, partial(Group.of()));
                double share = share(unit, span.kind());
                sum = sum == null
                        ? p.apply(new SquaredSum(share, all, Operand.ABSENT), gradient)
                        : p.apply(new SquaredSum(share, all, Operand.PRESENT), gradient, sum);
            }
        }
        bound.put(sum, named.reserve("squared norm", sum.type()));
        List<Value> outputs = all.isEmpty()
                ? List.of(loss, sum)
                : List.of(p.apply(new AllReduce(all, 1), loss), p.apply(new AllReduce(all, 1), sum));
        segments.put(TrainingPlan.NORM, memory.place(p.build(outputs), bound));
    }

    /** 1 over the ranks that hold the same gradients. */
    private double share(PlacedUnit unit, Units.Kind kind) {
        int replicas = unit.shard().length() < unit.flat().numElements() ? 1 : unit.numShards();
        replicas *= kind.cut() ? 1 : view.size(Axis.TP);
        return 1.0 / (isTied(unit) ? 2 * replicas : replicas);
    }

    /** Scales for the next step, where products multiply in eight bits: their states fill a region. */
    private void scales() {
        long bytes = memory.sizes().getOrDefault(Region.SCALES, 0L);
        if (bytes == 0) {
            return;
        }
        ProgramBuilder p = new ProgramBuilder(TrainingPlan.SCALES);
        Map<Value, Slice> bound = new HashMap<>();
        Value states = p.input("states", TensorType.of(DType.F32, bytes / Scaled.WIDTH / Float.BYTES, Scaled.WIDTH));
        bound.put(states, new Slice(Region.SCALES, 0, bytes));
        Value accepted = p.input(TrainingPlan.ACCEPTED, TensorType.of(DType.F32, 1));
        bound.put(accepted, named.reserve(TrainingPlan.ACCEPTED, accepted.type()));
        Value next = p.apply(new NextScales(), states, accepted);
        segments.put(TrainingPlan.SCALES, memory.place(p.build(List.of(next)), bound));
    }

    private void update() {
        ProgramBuilder p = new ProgramBuilder(TrainingPlan.UPDATE);
        Map<Value, Slice> bound = new HashMap<>();
        Value scalars = p.input("scalars", TensorType.of(DType.F32, 7));
        bound.put(scalars, named.reserve("scalars", scalars.type()));
        List<Value> outputs = new ArrayList<>();
        for (PlacedUnit unit : units) {
            for (PlacedUnit.Span span : unit.spans(view)) {
                outputs.addAll(adamW(p, bound, unit, span, scalars));
            }
        }
        segments.put(TrainingPlan.UPDATE, memory.place(p.build(outputs), bound));
    }

    private List<Value> adamW(
            ProgramBuilder p, Map<Value, Slice> bound, PlacedUnit unit, PlacedUnit.Span span, Value scalars) {
        Region masters = unit.held().containsKey(Region.MASTERS) ? Region.MASTERS : Region.WEIGHTS;
        List<Value> operands = new ArrayList<>();
        for (Region region : List.of(masters, Region.GRADIENTS, Region.FIRST_MOMENTS, Region.SECOND_MOMENTS)) {
            Slice slice = unit.held().get(region).of(span.elements());
            operands.add(flat(p, bound, region + "." + unit.unit().name(), slice, flatType(slice)));
        }
        operands.add(scalars);
        AdamW op = new AdamW(span.kind().decays() ? request.weightDecay() : 0);
        return p.applyAll("adamw." + unit.unit().name(), op, operands.toArray(Value[]::new));
    }

    /** Rounds updated masters to the weights, and brings shards to all ranks that hold the unit whole (ZeRO stages 1 and 2). */
    private void publish() {
        ProgramBuilder p = new ProgramBuilder(TrainingPlan.PUBLISH);
        Map<Value, Slice> bound = new HashMap<>();
        List<Runnable> waits = new ArrayList<>();
        List<Value> outputs = new ArrayList<>();
        for (PlacedUnit unit : units) {
            PlacedUnit.Held weights = unit.held().get(Region.WEIGHTS);
            boolean rounds = unit.held().containsKey(Region.MASTERS);
            boolean gathers = unit.shard().length() < weights.elements().length();
            if (!rounds && !gathers) {
                continue;
            }
            TensorType sharded = TensorType.of(DType.F32, unit.shard().length());
            for (Axis axis : gathers ? unit.unit().group().axes() : List.<Axis>of()) {
                sharded = sharded.with(axis, Placement.shard(0));
            }
            Value updated = flat(p, bound, unit.unit().name(), unit.masters(), sharded);
            Value shard = rounds ? p.apply(new Cast(DType.BF16), updated) : updated;
            bound.put(shard, weights.of(unit.shard()));
            if (!gathers) {
                outputs.add(shard);
                continue;
            }
            AllGather gather = new AllGather(unit.unit().group(), unit.numShards(), 0);
            Value inFlight = p.apply(new Collective.Start(gather), shard);
            bound.put(inFlight, weights.slice());
            waits.add(() -> outputs.add(p.apply(new Collective.Wait(gather.group(), 1), inFlight, shard)));
        }
        waits.forEach(Runnable::run);
        segments.put(TrainingPlan.PUBLISH, memory.place(p.build(outputs), bound));
    }
}
