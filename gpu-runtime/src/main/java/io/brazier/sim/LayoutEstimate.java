package io.brazier.sim;

import io.brazier.nn.Model;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.plan.TrainingPlan;
import io.brazier.sim.CollectiveCost.Span;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * Closed forms that say which layouts are worth a plan. Embedding, one block and head are planned as stages of their own and timed
 * once for each way of cutting them up; stages are sums of these, the pipeline its formula, and gradients and sharded weights take
 * what compute does not hide.
 */
final class LayoutEstimate {

    /** Time and memory of a step on the stage that has most of it. */
    record Cost(double stepSeconds, double memoryBytes) {}

    /** What decides the cost of a piece of the model for one micro-batch. */
    private record Cut(int cp, int ep, int tp, boolean sequenceParallel, Recompute recompute, int microBatchSize) {}

    /** A piece, or some of them: seconds of a micro-batch, elements of weights, bytes kept for backward and while running. */
    private record Piece(double forward, double backward, double elements, double stash, double scratch) {
        Piece plus(Piece more) {
            return new Piece(
                    forward + more.forward,
                    backward + more.backward,
                    elements + more.elements,
                    stash + more.stash,
                    Math.max(scratch, more.scratch));
        }

        double seconds() {
            return forward + backward;
        }
    }

    private static final Piece NOTHING = new Piece(0, 0, 0, 0, 0);
    private static final double STATE_BYTES = DType.F32.bytes();

    private final Model model;
    private final int sequenceLength;
    private final OpCost ops;
    private final CollectiveCost collectives;
    private final Map<Cut, List<Piece>> pieces = new HashMap<>();
    private final Map<Integer, List<List<Integer>>> splits = new HashMap<>();

    LayoutEstimate(Model model, int numRanks, int sequenceLength, Hardware hardware) {
        this.model = model;
        this.sequenceLength = sequenceLength;
        this.ops = new OpCost(hardware, numRanks);
        this.collectives = new CollectiveCost(hardware);
    }

    /** Cost of a layout that has no violations. */
    Cost of(Scenario scenario) {
        Layout layout = scenario.layout();
        Mesh mesh = layout.mesh();
        List<Piece> kinds = pieces.computeIfAbsent(cut(scenario), c -> plan(scenario));
        List<List<Integer>> split = splits.computeIfAbsent(
                layout.numVirtualStages(), n -> TrainingPlan.pieces(request(scenario, layout, 0)));
        Piece slowest = NOTHING;
        double memory = 0;
        for (int stage = 0; stage < mesh.pp(); stage++) {
            Piece sum = NOTHING;
            for (int v = stage; v < split.size(); v += mesh.pp()) {
                for (int piece : split.get(v)) {
                    sum = sum.plus(kinds.get(kind(piece)));
                }
            }
            slowest = sum.seconds() > slowest.seconds() ? sum : slowest;
            memory = Math.max(memory, memory(scenario, sum, stage));
        }
        int p = mesh.pp();
        double bubble = (p - 1.0) * slowest.seconds() / layout.chunksPerStage();
        if (layout.schedule() == Schedule.ZB_H1) {
            bubble /= 3;
        }
        double seconds = scenario.numMicroBatches() * slowest.seconds() + bubble + exposed(scenario, slowest);
        return new Cost(seconds, memory);
    }

    private int kind(int piece) {
        return piece == 0 ? 0 : piece == model.numPieces() - 1 ? 2 : 1;
    }

    private static Cut cut(Scenario s) {
        Layout l = s.layout();
        Mesh m = l.mesh();
        return new Cut(m.cp(), m.ep(), m.tp(), l.sequenceParallel(), l.recompute(), s.microBatchSize());
    }

    private static Group data(Mesh mesh) {
        return mesh.group(Axis.DP, Axis.CP, Axis.EP);
    }

    /** Bytes of state that ZeRO leaves whole and what it cuts (arXiv:1910.02054, sec. 5), stashes in flight and temporaries. */
    private static double memory(Scenario s, Piece stage, int index) {
        Layout layout = s.layout();
        int zero = layout.zeroStage();
        boolean lowers = layout.precision().hasMasters();
        double n = layout.mesh().size(data(layout.mesh()));
        double weights = (lowers ? DType.BF16.bytes() : STATE_BYTES) / (zero < 3 ? 1 : n);
        double gradients = STATE_BYTES / (zero < 2 ? 1 : n);
        double states = (lowers ? 3 : 2) * STATE_BYTES / (zero < 1 ? 1 : n);
        double inFlight = inFlight(layout, s.numMicroBatches(), index);
        return stage.elements() * (weights + gradients + states) + inFlight * stage.stash() + stage.scratch();
    }

    /** Micro-batches of a whole stage whose stash is held at once. */
    private static double inFlight(Layout layout, int numMicroBatches, int stage) {
        int p = layout.mesh().pp();
        int v = layout.chunksPerStage();
        double most =
                switch (layout.schedule()) {
                    case GPIPE -> p == 1 ? 1 : numMicroBatches;
                    case ONE_F_ONE_B -> p - stage;
                    case ZB_H1 -> p;
                    case INTERLEAVED -> (2.0 * (p - 1 - stage) + (v - 1.0) * p + 1) / v;
                };
        return Math.min(most, numMicroBatches);
    }

    /** Seconds of sums over replicas, and of bringing weights, that nothing hides. */
    private double exposed(Scenario s, Piece stage) {
        Layout layout = s.layout();
        Mesh mesh = layout.mesh();
        Span span = collectives.span(mesh.members(0, data(mesh)));
        double gradients = stage.elements() * STATE_BYTES;
        double weights = stage.elements() * (layout.precision().hasMasters() ? DType.BF16.bytes() : DType.F32.bytes());
        double hidden = mesh.pp() == 1 ? stage.backward() : 0;
        double scatter = collectives.reduceScatter(span, gradients);
        double gather = collectives.allGather(span, weights);
        return switch (layout.zeroStage()) {
            case 0 -> Math.max(0, collectives.allReduce(span, gradients) - hidden);
            case 1 -> Math.max(0, scatter - hidden) + gather;
            case 2 -> s.numMicroBatches() * Math.max(0, scatter - stage.backward()) + gather;
            default -> s.numMicroBatches()
                    * (Math.max(0, gather - stage.forward()) + Math.max(0, gather + scatter - stage.backward()));
        };
    }

    private Request request(Scenario s, Layout layout, int rank) {
        return new Request(model, layout, rank, s.microBatchSize(), 1, sequenceLength, 0, 0);
    }

    /** Embedding, block and head, each the only piece of a stage. */
    private List<Piece> plan(Scenario s) {
        Mesh m = s.layout().mesh();
        Mesh apart = new Mesh(1, model.numPieces(), m.cp(), m.ep(), m.tp());
        Layout layout = Layout.of(apart)
                .withRecompute(s.layout().recompute())
                .withPrecision(s.layout().precision());
        Layout cut = s.layout().sequenceParallel() ? layout.withSequenceParallel() : layout;
        List<Integer> stages = apart.members(0, Group.of(Axis.PP));
        return List.of(0, 1, model.numPieces() - 1).stream()
                .map(piece -> measure(TrainingPlan.make(request(s, cut, stages.get(piece)), i -> 0)
                        .plan()))
                .toList();
    }

    private Piece measure(RankPlan plan) {
        double elements = plan.regions().get(Region.GRADIENTS) / STATE_BYTES;
        return new Piece(
                seconds(plan, TrainingPlan.FORWARD),
                seconds(plan, "backward"),
                elements,
                plan.regions().getOrDefault(Region.STASH, 0L),
                plan.regions().getOrDefault(Region.SCRATCH, 0L));
    }

    private double seconds(RankPlan plan, String segment) {
        List<Task> tasks = StageTasks.of(plan, segment, ops, collectives);
        return Clock.run(List.of(tasks), (stage, stream, name, start, end) -> {})
                .stepSeconds();
    }
}
