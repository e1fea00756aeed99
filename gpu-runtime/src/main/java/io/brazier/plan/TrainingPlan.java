package io.brazier.plan;

import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.pipeline.Action;
import io.brazier.pipeline.Slots;
import io.brazier.plan.RankPlan.Step;
import io.brazier.program.Instruction;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;

/**
 * The plan of a training rank.
 *
 * @param plan what the rank runs
 * @param request what it was made for
 * @param units the rank's parameters with their memory
 * @param feeds by forward segment what the host writes and reads in a slot: tokens and targets i32 [B, T'], rng i64 [3] {seed, step,
 *     first row}
 * @param named what the host writes and reads by name: positions and sequence positions i32, loss.gradient f32 [1] (must hold 1),
 *     loss f32 [1] (this rank's part of the mean over the global batch), step loss f32 [3] (loss, balance loss, dropped tokens) and squared norm f64 [1] (reduced by
 *     norm), kept f32, scalars f32 [7] of the update, accepted f32 [1] of the scales, evaluation tokens, targets and loss
 * @param evaluation what evaluates one micro-batch
 */
public record TrainingPlan(
        RankPlan plan,
        Request request,
        List<PlacedUnit> units,
        Map<String, Map<String, Slice>> feeds,
        Map<String, Slice> named,
        List<Step> evaluation) {

    public static final String FORWARD = "forward";
    public static final String FINISH = "finish";
    public static final String NORM = "norm";

    /** Makes the scales of the next step where products multiply in eight bits; runs whether or not update does. */
    public static final String SCALES = "scales";

    public static final String UPDATE = "update";
    public static final String PUBLISH = "publish";
    public static final String EVALUATE = "evaluate";

    /** Names, before the chunk's suffix, of what a forward segment leaves beside the loss where there are experts. */
    public static final String BALANCE_LOSS = "balance loss";

    public static final String DROPPED_TOKENS = "dropped tokens";

    /** Name of the place where the host has the losses of forward segments kept until it reads all of a step at once. */
    public static final String KEPT = "kept";

    /** Name of what tells {@link #SCALES} whether the weights are updated: 1 if so, else 0. */
    public static final String ACCEPTED = "accepted";

    /**
     * Makes the plan.
     *
     * @param workspaceBytes what the back end wants beside its operands
     * @throws IllegalArgumentException naming every violation of the layout at once
     */
    public static TrainingPlan make(Request request, ToLongFunction<Instruction> workspaceBytes) {
        Layout layout = request.layout();
        int rows = request.microBatchSize()
                * request.numMicroBatches()
                * layout.mesh().dp()
                * layout.mesh().ep();
        List<String> violations =
                layout.violations(request.model().config(), rows, request.numMicroBatches(), request.sequenceLength());
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException("layout " + layout + " cannot run: " + String.join("; ", violations));
        }
        MemoryPlanner memory = new MemoryPlanner(workspaceBytes);
        NamedInputs named = new NamedInputs(memory);
        RankView view = request.view();
        int stage = view.coordinate(Axis.PP);
        int numStages = view.size(Axis.PP);
        List<Action> actions =
                layout.schedule().actions(stage, numStages, request.numMicroBatches(), layout.chunksPerStage());
        Slots slots = Slots.of(actions);
        List<List<Integer>> pieces = pieces(request);
        Map<String, Segment> segments = new LinkedHashMap<>();
        List<PlacedUnit> units = new ArrayList<>();
        List<ChunkPlanner> chunks = new ArrayList<>();
        Map<Integer, Slice> inboxes = new HashMap<>();
        boolean splits = actions.stream().anyMatch(a -> a.phase() == Action.Phase.BACKWARD_WEIGHT);
        for (int c = 0; c < layout.chunksPerStage(); c++) {
            List<Integer> held = pieces.get(c * numStages + stage);
            List<Unit> made = new ArrayList<>(Units.of(request.model(), held, view));
            Collections.reverse(made);
            List<PlacedUnit> placed = made.stream()
                    .map(unit -> PlacedUnit.place(unit, view, layout, memory))
                    .toList();
            ChunkPlanner chunk = new ChunkPlanner(request, c, held, placed, memory, named);
            chunk.plan(slots.count(c), splits, segments);
            chunks.add(chunk);
            units.addAll(placed);
            if (!chunk.isFirst()) {
                inboxes.put(c, memory.reserve(Region.INPUTS, chunk.slot("x").bytes()));
            }
        }
        new StepSegments(request, units, memory, named, segments).plan();
        chunks.forEach(chunk -> chunk.planEvaluation(segments));
        List<Step> schedule = new StepList(actions, chunks, inboxes, numStages, segments.keySet()).steps();
        Map<String, Map<String, Slice>> feeds = new LinkedHashMap<>();
        chunks.forEach(chunk -> feeds.put(chunk.forward(), chunk.feeds()));
        int most = StepSegments.NUM_SUMS * chunks.size() * request.numMicroBatches();
        named.reserve(KEPT, TensorType.of(DType.F32, most));
        return new TrainingPlan(
                new RankPlan(layout.mesh(), request.rank(), memory.sizes(), segments, schedule),
                request,
                List.copyOf(units),
                feeds,
                named.all(),
                StepList.evaluation(chunks, named, numStages));
    }

    /** Pieces of the model by virtual stage, split so that the slowest stage is as fast as can be. */
    public static List<List<Integer>> pieces(Request request) {
        double[] costs = IntStream.range(0, request.model().numPieces())
                .mapToDouble(piece -> request.model().flopsPerToken(piece, request.sequenceLength()))
                .toArray();
        return Stages.split(costs, request.layout().numVirtualStages());
    }
}
