package io.brazier.plan;

import io.brazier.nn.Gpt;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ParameterSpec;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.pass.Bucket;
import io.brazier.pipeline.Action;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Instruction;
import io.brazier.program.Loss.CrossEntropy;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Optimizer.AdamW;
import io.brazier.program.Optimizer.SquaredSum;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;

/**
 * The plan of a data-parallel training rank. Parameters lie in the order in which backward completes their gradients, matrices
 * before biases and norms, so that a bucket and the operand of an AdamW are single ranges.
 *
 * @param plan what the rank runs
 * @param parameters in their order in memory; an offset holds in each of the regions of weights, gradients and moments
 * @param tokens i32 [B, T]
 * @param targets i32 [B, T]
 * @param positions i32 [B, T]
 * @param rng i64 [3] {seed, step, first row}
 * @param lossGradient f32 [1], must hold 1
 * @param loss f32 [1], written by forward: this rank's part of the mean over the global batch
 * @param stepLoss f32 [1], read and reduced by norm
 * @param squaredNorm f64 [1], written by norm
 * @param evaluationLoss f32 [1], written by evaluate: the sum over this rank's targets
 * @param scalars f32 [7], read by update
 */
public record TrainingPlan(
        RankPlan plan,
        List<Placed> parameters,
        Slice tokens,
        Slice targets,
        Slice positions,
        Slice rng,
        Slice lossGradient,
        Slice loss,
        Slice stepLoss,
        Slice squaredNorm,
        Slice evaluationLoss,
        Slice scalars) {

    public static final String FORWARD = "forward";
    public static final String NORM = "norm";
    public static final String UPDATE = "update";
    public static final String EVALUATE = "evaluate";

    /** Gradients are reduced in buckets of about this size (PyTorch's default; arXiv:2006.15704, sec. 3.2.3). */
    private static final long BUCKET_BYTES = 25L << 20;

    /** A parameter and its offset in the regions of weights, gradients and moments. */
    public record Placed(ParameterSpec spec, long offset) {
        public Slice in(Region region) {
            return new Slice(region, offset, spec.type().bytes());
        }
    }

    /**
     * What is planned for.
     *
     * @param microBatchSize B, rows of a micro-batch on this rank
     * @param sequenceLength T
     */
    public record Request(
            Gpt model,
            Mesh mesh,
            int rank,
            int microBatchSize,
            int numMicroBatches,
            int sequenceLength,
            double dropout,
            double weightDecay) {}

    /** Makes the plan; workspaceBytes is what the back end wants beside its operands. */
    public static TrainingPlan make(Request request, ToLongFunction<Instruction> workspaceBytes) {
        return new Maker(request, new MemoryPlanner(workspaceBytes)).make();
    }

    private static final class Maker {
        private final Request request;
        private final MemoryPlanner memory;
        private final Map<Value, Slice> inputs = new HashMap<>();
        private final Map<String, Segment> segments = new LinkedHashMap<>();
        private final Map<String, Slice> named = new HashMap<>();
        private ModelBuilder model;
        private Value loss;
        private List<Placed> parameters;
        private long decayBytes;

        Maker(Request request, MemoryPlanner memory) {
            this.request = request;
            this.memory = memory;
        }

        TrainingPlan make() {
            double scale = 1.0
                    / ((double) request.microBatchSize()
                            * request.numMicroBatches()
                            * request.mesh().dp()
                            * request.sequenceLength());
            Program forward = program(FORWARD, request.dropout(), scale);
            List<Value> weights = List.copyOf(model.weights().values());
            Autodiff.Result fresh = Autodiff.differentiate(forward, loss, weights, Gradients.FRESH);
            layOut(fresh);
            bindInputs(forward, inputs);
            inputs.put(loss, reserve("loss", loss.type()));
            bindGradients(fresh);
            fresh.forward().outputs().stream()
                    .filter(v -> !inputs.containsKey(v))
                    .forEach(v ->
                            inputs.put(v, memory.reserve(Region.STASH, v.type().bytes())));
            List<Launch> schedule = backwards(fresh, forward, weights);
            segments.put(FORWARD, memory.place(fresh.forward(), inputs));
            norm();
            update();
            evaluate();
            return result(schedule);
        }

        private Program program(String name, double dropout, double scale) {
            model = new ModelBuilder(name, Mode.TRAINING, request.model().parameters(), dropout);
            int rows = request.microBatchSize();
            int numTokens = request.sequenceLength();
            Value tokens = model.rows("tokens", rows, numTokens);
            Value positions = model.rows("positions", rows, numTokens);
            Value targets = model.rows("targets", rows, numTokens);
            Value logits = request.model().logits(model, tokens, positions);
            loss = model.program().apply(new CrossEntropy(scale), logits, targets);
            return model.program().build(List.of(loss));
        }

        /** Orders the parameters by the completion of their gradients, decaying ones first. */
        private void layOut(Autodiff.Result fresh) {
            Map<Value, Integer> completion = new HashMap<>();
            List<Instruction> instructions = fresh.backward().instructions();
            for (int x = 0; x < instructions.size(); x++) {
                for (Value v : instructions.get(x).outputs()) {
                    completion.put(v, x);
                }
            }
            List<ParameterSpec> ordered = new ArrayList<>(request.model().parameters());
            ordered.sort(Comparator.comparing((ParameterSpec s) -> !s.decays())
                    .thenComparing(s ->
                            completion.get(fresh.gradients().get(model.weights().get(s.name())))));
            parameters = new ArrayList<>();
            for (ParameterSpec spec : ordered) {
                Slice slice = memory.reserve(Region.WEIGHTS, spec.type().bytes());
                parameters.add(new Placed(spec, slice.offset()));
                decayBytes = spec.decays() ? memory.sizes().get(Region.WEIGHTS) : decayBytes;
            }
            long bytes = memory.sizes().get(Region.WEIGHTS);
            for (Region region : List.of(Region.GRADIENTS, Region.FIRST_MOMENTS, Region.SECOND_MOMENTS)) {
                memory.reserve(region, bytes);
            }
        }

        private void bindInputs(Program program, Map<Value, Slice> bound) {
            for (Placed p : parameters) {
                Slice slice = p.in(Region.WEIGHTS);
                bound.put(model.parameters().get(p.spec().name()), slice);
                bound.put(model.weights().get(p.spec().name()), slice);
            }
            for (Value v : program.inputs()) {
                if (!bound.containsKey(v)) {
                    bound.put(v, reserve(v.name(), v.type()));
                }
            }
        }

        private void bindGradients(Autodiff.Result differentiated) {
            inputs.put(
                    differentiated.lossGradient(),
                    reserve("loss.gradient", differentiated.lossGradient().type()));
            for (Placed p : parameters) {
                Value weight = model.weights().get(p.spec().name());
                inputs.put(differentiated.gradients().get(weight), p.in(Region.GRADIENTS));
                Value sum = differentiated.sums().get(weight);
                if (sum != null) {
                    inputs.put(sum, p.in(Region.GRADIENTS));
                }
            }
        }

        private Slice reserve(String name, TensorType type) {
            return named.computeIfAbsent(name, n -> memory.reserve(Region.INPUTS, type.bytes()));
        }

        /** Places the backward variants and returns the schedule that names them. */
        private List<Launch> backwards(Autodiff.Result fresh, Program forward, List<Value> weights) {
            Map<Integer, String> variants = new HashMap<>();
            int last = request.numMicroBatches() - 1;
            if (last == 0) {
                variants.put(0, placeReducing(fresh));
            } else {
                variants.put(0, place(fresh.backward()));
                Autodiff.Result sums = Autodiff.differentiate(forward, loss, weights, Gradients.ACCUMULATE);
                bindGradients(sums);
                String accumulate = last == 1 ? "" : place(sums.backward());
                for (int x = 1; x < last; x++) {
                    variants.put(x, accumulate);
                }
                variants.put(last, placeReducing(sums));
            }
            List<Launch> schedule = new ArrayList<>();
            for (Action action : Schedule.ONE_F_ONE_B.actions(0, 1, request.numMicroBatches(), 1)) {
                switch (action.phase()) {
                    case FORWARD -> schedule.add(new Launch(FORWARD, action.microBatch()));
                    case BACKWARD -> schedule.add(new Launch(variants.get(action.microBatch()), action.microBatch()));
                    case BACKWARD_INPUT, BACKWARD_WEIGHT -> throw new AssertionError(action + " on one stage");
                    case UPDATE -> {
                        schedule.add(new Launch(NORM, action.microBatch()));
                        schedule.add(new Launch(UPDATE, action.microBatch()));
                    }
                }
            }
            return schedule;
        }

        private String place(Program backward) {
            segments.put(backward.name(), memory.place(backward, inputs));
            return backward.name();
        }

        private String placeReducing(Autodiff.Result differentiated) {
            List<List<Value>> buckets = new ArrayList<>();
            long bytes = BUCKET_BYTES;
            boolean decays = true;
            for (Placed p : parameters) {
                if (bytes >= BUCKET_BYTES || decays != p.spec().decays()) {
                    buckets.add(new ArrayList<>());
                    bytes = 0;
                }
                Value weight = model.weights().get(p.spec().name());
                buckets.get(buckets.size() - 1).add(differentiated.gradients().get(weight));
                bytes += p.spec().type().bytes();
                decays = p.spec().decays();
            }
            Bucket.Result overlapped = Bucket.overlap(differentiated.backward(), buckets, Group.of(Axis.DP));
            overlapped.reduced().forEach((gradient, reduced) -> inputs.put(reduced, inputs.get(gradient)));
            return place(overlapped.program());
        }

        private TensorType flat(long bytes) {
            return TensorType.of(DType.F32, bytes / DType.F32.bytes());
        }

        private long flatBytes() {
            return memory.sizes().get(Region.WEIGHTS);
        }

        /** Input for the decaying or the other half of a region. */
        private Value half(ProgramBuilder p, Map<Value, Slice> bound, Region region, boolean decays) {
            long offset = decays ? 0 : decayBytes;
            long bytes = decays ? decayBytes : flatBytes() - decayBytes;
            Value v = p.input(region + (decays ? ".decay" : ".rest"), flat(bytes));
            bound.put(v, new Slice(region, offset, bytes));
            return v;
        }

        private void norm() {
            ProgramBuilder p = new ProgramBuilder(NORM);
            Map<Value, Slice> bound = new HashMap<>();
            Value partial = p.input("stepLoss", TensorType.of(DType.F32, 1).with(Axis.DP, Placement.P));
            bound.put(partial, reserve("step loss", partial.type()));
            Value reduced = p.apply(new AllReduce(Group.of(Axis.DP), 1), partial);
            Value sum = p.apply(new SquaredSum(Operand.ABSENT), half(p, bound, Region.GRADIENTS, true));
            sum = p.apply(new SquaredSum(Operand.PRESENT), half(p, bound, Region.GRADIENTS, false), sum);
            bound.put(sum, reserve("squared norm", sum.type()));
            segments.put(NORM, memory.place(p.build(List.of(reduced, sum)), bound));
        }

        private void update() {
            ProgramBuilder p = new ProgramBuilder(UPDATE);
            Map<Value, Slice> bound = new HashMap<>();
            Value scalars = p.input("scalars", TensorType.of(DType.F32, 7));
            bound.put(scalars, reserve("scalars", scalars.type()));
            List<Value> outputs = new ArrayList<>();
            for (boolean decays : new boolean[] {true, false}) {
                outputs.addAll(p.applyAll(
                        "adamw",
                        new AdamW(decays ? request.weightDecay() : 0),
                        half(p, bound, Region.WEIGHTS, decays),
                        half(p, bound, Region.GRADIENTS, decays),
                        half(p, bound, Region.FIRST_MOMENTS, decays),
                        half(p, bound, Region.SECOND_MOMENTS, decays),
                        scalars));
            }
            segments.put(UPDATE, memory.place(p.build(outputs), bound));
        }

        /** Forward alone; it runs between steps, when the stash is empty, so its temporaries lie there. */
        private void evaluate() {
            Program program = program(EVALUATE, 0, 1);
            Map<Value, Slice> bound = new HashMap<>();
            bindInputs(program, bound);
            bound.put(loss, reserve("evaluation loss", loss.type()));
            segments.put(EVALUATE, memory.place(program, bound, Region.STASH));
        }

        private TrainingPlan result(List<Launch> schedule) {
            Slice rng = reserve("rng", TensorType.of(DType.I64, 3));
            return new TrainingPlan(
                    new RankPlan(request.mesh(), request.rank(), memory.sizes(), segments, schedule),
                    List.copyOf(parameters),
                    named.get("tokens"),
                    named.get("targets"),
                    named.get("positions"),
                    rng,
                    named.get("loss.gradient"),
                    named.get("loss"),
                    named.get("step loss"),
                    named.get("squared norm"),
                    named.get("evaluation loss"),
                    named.get("scalars"));
        }
    }
}
