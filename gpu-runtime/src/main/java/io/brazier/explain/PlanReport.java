package io.brazier.explain;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.nn.ParameterSpec;
import io.brazier.pipeline.Action;
import io.brazier.pipeline.Timeline;
import io.brazier.pipeline.Transfer;
import io.brazier.plan.Layout;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.Request;
import io.brazier.plan.Segment;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Instruction;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;

/**
 * The physical plan of a training step, for people and programs.
 *
 * @param request what was planned; its rank means nothing
 * @param stages of the pipeline
 * @param ranks all ranks, those with equal shares together, in rank order
 * @param timeline one step of the stages, where time is proportional to FLOPs, and messages and updates take none
 */
public record PlanReport(Request request, List<Stage> stages, List<Ranks> ranks, Timeline timeline) {

    /** Above this only one rank is planned of those whose shards have equal shapes. */
    private static final int ALL_PLANNED = 16;

    /**
     * Part of the model that a pipeline stage holds.
     *
     * @param chunks the pieces of each model chunk: 0 embeds, 1 to L are blocks, L + 1 is the head
     * @param numParameters of the stage over all its ranks, replicas not counted
     * @param cuts parameters that ranks share, by axis, for example {@code h.*.attn.c_attn.weight dim 1}
     */
    public record Stage(List<List<Integer>> chunks, long numParameters, Map<Axis, List<String>> cuts) {}

    /** Ranks with equal shares. */
    public record Ranks(List<Integer> ranks, RankShare share) {}

    /**
     * Plans every rank, or one of each kind where there are many.
     *
     * @param workspaceBytes what the back end wants beside its operands
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public static PlanReport of(Request request, ToLongFunction<Instruction> workspaceBytes) {
        Mesh mesh = request.layout().mesh();
        Map<Object, Integer> planned = new LinkedHashMap<>();
        Map<RankShare, List<Integer>> byShare = new LinkedHashMap<>();
        Map<Object, RankShare> shares = new LinkedHashMap<>();
        List<TrainingPlan> firstOfStage = new ArrayList<>();
        for (int rank = 0; rank < mesh.worldSize(); rank++) {
            Object kind = mesh.worldSize() <= ALL_PLANNED ? (Object) rank : kind(mesh, rank);
            if (planned.putIfAbsent(kind, rank) == null) {
                TrainingPlan plan = TrainingPlan.make(request.at(rank), workspaceBytes);
                shares.put(kind, RankShare.of(plan));
                if (mesh.coordinate(rank, Axis.PP) == firstOfStage.size()) {
                    firstOfStage.add(plan);
                }
            }
            byShare.computeIfAbsent(shares.get(kind), k -> new ArrayList<>()).add(rank);
        }
        List<Ranks> ranks = new ArrayList<>();
        byShare.forEach((share, members) -> ranks.add(new Ranks(List.copyOf(members), share)));
        return new PlanReport(request, stages(request), List.copyOf(ranks), timeline(request.layout(), firstOfStage));
    }

    /**
     * What the fullest rank allocates; plans no more ranks than that takes.
     *
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public static long peakBytes(Request request, ToLongFunction<Instruction> workspaceBytes) {
        Mesh mesh = request.layout().mesh();
        Map<Object, Integer> kinds = new LinkedHashMap<>();
        IntStream.range(0, mesh.worldSize()).forEach(rank -> kinds.putIfAbsent(kind(mesh, rank), rank));
        return kinds.values().stream()
                .mapToLong(rank -> TrainingPlan.make(request.at(rank), workspaceBytes)
                        .plan()
                        .totalBytes())
                .max()
                .orElseThrow();
    }

    /** Plans of a stage's ranks differ in sizes only where the last of tp gets less of an uneven cut. */
    private static Object kind(Mesh mesh, int rank) {
        return List.of(mesh.coordinate(rank, Axis.PP), mesh.coordinate(rank, Axis.TP) == mesh.tp() - 1);
    }

    private static List<Stage> stages(Request request) {
        Mesh mesh = request.layout().mesh();
        List<List<Integer>> pieces = TrainingPlan.pieces(request);
        return IntStream.range(0, mesh.pp())
                .mapToObj(stage -> stage(
                        request,
                        IntStream.range(0, request.layout().chunksPerStage())
                                .mapToObj(chunk -> pieces.get(chunk * mesh.pp() + stage))
                                .toList()))
                .toList();
    }

    private static Stage stage(Request request, List<List<Integer>> chunks) {
        Mesh mesh = request.layout().mesh();
        List<ParameterSpec> specs = chunks.stream()
                .flatMap(List::stream)
                .flatMap(piece -> request.model().parameters(piece).stream())
                .distinct()
                .toList();
        Map<Axis, List<String>> cuts = new LinkedHashMap<>();
        for (Axis axis : Axis.values()) {
            TreeSet<String> names = new TreeSet<>();
            specs.forEach(spec -> spec.cuts().stream()
                    .filter(cut -> cut.axis() == axis && mesh.size(axis) > 1)
                    .forEach(cut -> names.add(spec.name().replaceAll("\\.\\d+\\.", ".*.") + " dim " + cut.dim())));
            if (!names.isEmpty()) {
                cuts.put(axis, List.copyOf(names));
            }
        }
        long numParameters = specs.stream()
                .map(ParameterSpec::shape)
                .mapToLong(Shape::numElements)
                .sum();
        return new Stage(chunks, numParameters, cuts);
    }

    private static Timeline timeline(Layout layout, List<TrainingPlan> stages) {
        List<List<Action>> lists = layout.schedule()
                .allActions(layout.mesh().pp(), stages.get(0).request().numMicroBatches(), layout.chunksPerStage());
        List<Map<Action, Double>> flops = new ArrayList<>();
        for (int stage = 0; stage < stages.size(); stage++) {
            flops.add(flops(stages.get(stage), lists.get(stage)));
        }
        return Timeline.of(lists, new Timeline.Cost() {
            @Override
            public double of(int stage, Action action) {
                return flops.get(stage).get(action);
            }

            @Override
            public double of(Transfer transfer) {
                return 0;
            }
        });
    }

    /** An action is one launch of forward or backward, but the update; what other launches compute counts as nothing. */
    private static Map<Action, Double> flops(TrainingPlan plan, List<Action> actions) {
        List<Segment> launched = plan.plan().schedule().stream()
                .filter(Launch.class::isInstance)
                .map(step -> ((Launch) step).segment())
                .filter(name -> name.startsWith(TrainingPlan.FORWARD) || name.startsWith("backward"))
                .map(name -> plan.plan().segments().get(name))
                .toList();
        Map<Action, Double> flops = new LinkedHashMap<>();
        for (int x = 0; x < actions.size(); x++) {
            Action action = actions.get(x);
            flops.put(
                    action,
                    action.phase() == Action.Phase.UPDATE
                            ? 0
                            : launched.get(x).program().flops());
        }
        return flops;
    }

    /** What the fullest rank allocates. */
    public long peakBytes() {
        return ranks.stream().mapToLong(r -> r.share().arenaBytes()).max().orElseThrow();
    }

    /** What a rank has and does. */
    public RankShare share(int rank) {
        return ranks.stream()
                .filter(r -> r.ranks().contains(rank))
                .findFirst()
                .orElseThrow(() -> new IllegalArgumentException("rank " + rank + " is not one of the "
                        + request.layout().mesh().worldSize()))
                .share();
    }

    /** The report as text. */
    @Override
    public String toString() {
        return PlanText.of(this);
    }

    /** The report as JSON; keys carry the units. */
    public ObjectNode json() {
        return PlanJson.of(this);
    }
}
