package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ModelBuilder.Setting;
import io.brazier.nn.ModelBuilder.Weights;
import io.brazier.nn.ModelConfig;
import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.plan.RankPlan.AwaitTransfer;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.RankPlan.StartTransfer;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer;
import io.brazier.plan.RankPlan.Transfer.Direction;
import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Instruction;
import io.brazier.program.Lookup.SelectToken;
import io.brazier.program.Loss.RowLogSumExp;
import io.brazier.program.Loss.ShardedTokenLogLikelihood;
import io.brazier.program.Loss.TokenLogLikelihood;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import io.brazier.tensor.Shard;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;
import java.util.stream.IntStream;

/**
 * The plan of a rank that scores and decodes with a key/value cache, alone or under tp and pp. Shapes are static, so there is a segment for each batch of
 * 1, 2, 4, … rows, and for a chunk of tokens as well as for one; all share one cache and one set of inputs.
 *
 * @param weights place of this rank's part of each parameter of its stage, by name
 * @param shards those parts
 * @param inputs places of tokens, positions, targets i32 [B, T], of starts and rows i32 [B], of logits [B, V] and of
 *     logLikelihood [B, T], each big enough for every segment; logits and logLikelihood are written on the last stage only
 * @param logits ids that each rank has logits of; empty on all stages but the last
 * @param steps what running a segment is, with the transfers of hidden states between stages
 */
public record InferencePlan(
        RankPlan plan,
        int maxBatch,
        int maxTokens,
        Map<String, Slice> weights,
        Map<String, Shard> shards,
        Map<String, Slice> inputs,
        List<List<Range>> logits,
        Map<String, List<Step>> steps) {

    /** Tokens of a prompt that are fed at once. */
    public static final int CHUNK = 32;

    /** Name of the segment that appends numTokens (1 or {@link #CHUNK}) to each of batch rows and gives the next logits. */
    public static String next(int batch, int numTokens) {
        return "next." + batch + "x" + numTokens;
    }

    /** Name of the segment that scores a chunk of each of batch rows. */
    public static String score(int batch) {
        return "score." + batch;
    }

    /** Smallest planned batch that holds the rows. */
    public static int batchFor(int rows) {
        return rows <= 1 ? 1 : Integer.highestOneBit(rows - 1) << 1;
    }

    /** The plan of a device that holds the whole model. */
    public static InferencePlan make(
            Model model, int maxBatch, int maxTokens, ToLongFunction<Instruction> workspaceBytes) {
        return make(model, RankView.ALONE.mesh(), 0, maxBatch, maxTokens, workspaceBytes);
    }

    /**
     * Plans for batches up to maxBatch (rounded up to a power of two) and sequences up to maxTokens.
     *
     * @param mesh of tp and pp ranks
     * @throws IllegalArgumentException naming every reason why the mesh does not fit the model
     */
    public static InferencePlan make(
            Model model, Mesh mesh, int rank, int maxBatch, int maxTokens, ToLongFunction<Instruction> workspaceBytes) {
        if (maxBatch < 1 || maxTokens < 1 || maxTokens > model.config().maxPositions()) {
            throw new IllegalArgumentException("maxBatch " + maxBatch + " must be positive and maxTokens " + maxTokens
                    + " lie in [1, " + model.config().maxPositions() + "], the model's positions");
        }
        List<String> violations = violations(model.config(), mesh);
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException("inference under " + mesh + ": " + String.join("; ", violations));
        }
        RankView view = new RankView(mesh, rank, false);
        return new Maker(model, view, batchFor(maxBatch), maxTokens, new MemoryPlanner(workspaceBytes)).make();
    }

    /** Everything that keeps a mesh from sharing a model that scores or decodes. */
    public static List<String> violations(ModelConfig model, Mesh mesh) {
        List<String> violations = new ArrayList<>();
        if (mesh.dp() * mesh.cp() * mesh.ep() > 1) {
            violations.add("dp, cp and ep must be 1: inference shards over tp and pp");
        }
        violations.addAll(
                Layout.of(new Mesh(1, mesh.pp(), 1, 1, mesh.tp())).violations(model, mesh.pp(), mesh.pp(), 1));
        return violations;
    }

    private static final class Maker {
        private final Model model;
        private final RankView view;
        private final int stage;
        private final List<Integer> pieces;
        private final List<Integer> layers;
        private final List<ParameterSpec> parameters;
        private final int maxBatch;
        private final int maxTokens;
        private final MemoryPlanner memory;
        private final Map<String, Slice> weights = new LinkedHashMap<>();
        private final Map<String, Slice> inputs = new LinkedHashMap<>();
        private final List<Slice> caches = new ArrayList<>();
        private final Map<String, Segment> segments = new LinkedHashMap<>();
        private final Map<String, List<Step>> steps = new LinkedHashMap<>();

        Maker(Model model, RankView view, int maxBatch, int maxTokens, MemoryPlanner memory) {
            this.model = model;
            this.view = view;
            this.stage = view.coordinate(Axis.PP);
            double[] costs = IntStream.range(0, model.numPieces())
                    .mapToDouble(piece -> model.flopsPerToken(piece, maxTokens))
                    .toArray();
            this.pieces = Stages.split(costs, view.mesh().pp()).get(stage);
            this.layers = pieces.stream()
                    .filter(piece -> piece > 0 && piece < model.numPieces() - 1)
                    .map(piece -> piece - 1)
                    .toList();
            this.parameters = pieces.stream()
                    .flatMap(piece -> model.parameters(piece).stream())
                    .distinct()
                    .toList();
            this.maxBatch = maxBatch;
            this.maxTokens = maxTokens;
            this.memory = memory;
        }

        InferencePlan make() {
            Map<String, Shard> shards = new LinkedHashMap<>();
            for (ParameterSpec spec : parameters) {
                shards.put(spec.name(), spec.shard(view.mesh(), view.rank()));
                weights.put(
                        spec.name(),
                        memory.reserve(
                                Region.WEIGHTS,
                                spec.type(view.mesh(), view.rank()).bytes()));
            }
            Shape cache = cacheShape(maxBatch);
            for (int x = 0; x < 2 * layers.size(); x++) {
                caches.add(memory.reserve(Region.CACHE, cache.numElements() * DType.F32.bytes()));
            }
            for (String name : List.of("tokens", "positions", "targets", "logLikelihood")) {
                inputs.put(name, memory.reserve(Region.INPUTS, 4L * maxBatch * CHUNK));
            }
            for (String name : List.of("starts", "rows")) {
                inputs.put(name, memory.reserve(Region.INPUTS, 4L * maxBatch));
            }
            List<List<Range>> logits = IntStream.range(0, view.mesh().worldSize())
                    .mapToObj(this::logits)
                    .toList();
            long logitsBytes = 4L * maxBatch * Range.total(logits.get(view.rank()));
            if (isLast()) {
                inputs.put("logits", memory.reserve(Region.INPUTS, logitsBytes));
            }
            long hiddenBytes = 4L * maxBatch * CHUNK * model.config().width();
            if (!isFirst()) {
                inputs.put("x", memory.reserve(Region.INPUTS, hiddenBytes));
            }
            if (!isLast()) {
                inputs.put("y", memory.reserve(Region.INPUTS, hiddenBytes));
            }
            for (int batch = 1; batch <= maxBatch; batch *= 2) {
                next(batch, 1);
                next(batch, CHUNK);
                score(batch);
            }
            RankPlan plan = new RankPlan(view.mesh(), view.rank(), memory.sizes(), segments, List.of());
            return new InferencePlan(
                    plan,
                    maxBatch,
                    maxTokens,
                    Map.copyOf(weights),
                    shards,
                    Map.copyOf(inputs),
                    logits,
                    Map.copyOf(steps));
        }

        private boolean isFirst() {
            return stage == 0;
        }

        private boolean isLast() {
            return stage == view.mesh().pp() - 1;
        }

        /** What a rank has logits of: ids are split as the head's table is. */
        private List<Range> logits(int rank) {
            if (view.mesh().coordinate(rank, Axis.PP) < view.mesh().pp() - 1) {
                return List.of();
            }
            List<ParameterSpec> head = model.parameters(model.numPieces() - 1);
            Shard table = head.get(head.size() - 1).shard(view.mesh(), rank);
            return table.ranges().get(0);
        }

        private Shape cacheShape(int batch) {
            return Shape.of(
                    batch,
                    model.config().numKeyValueHeads() / view.mesh().tp(),
                    capacity(),
                    model.config().headWidth());
        }

        /** Padded rows of a chunk write behind the last token, so the cache is one chunk longer than a sequence. */
        private int capacity() {
            return maxTokens + CHUNK;
        }

        private void next(int batch, int numTokens) {
            Writer w = new Writer(InferencePlan.next(batch, numTokens), batch, numTokens);
            if (!isLast()) {
                w.finish(w.hidden, "y");
                return;
            }
            Value rows = w.input("rows", batch);
            Value last = w.program().apply(new SelectToken(), w.hidden, rows);
            w.finish(model.head(w.builder, last).values(), "logits");
        }

        private void score(int batch) {
            Writer w = new Writer(InferencePlan.score(batch), batch, CHUNK);
            if (!isLast()) {
                w.finish(w.hidden, "y");
                return;
            }
            Value targets = w.input("targets", batch, CHUNK);
            Model.Logits logits = model.head(w.builder, w.hidden);
            w.finish(likelihood(w.program(), logits, targets), "logLikelihood");
        }

        private Value likelihood(ProgramBuilder p, Model.Logits logits, Value targets) {
            Group tensor = view.tensor();
            if (tensor.isEmpty()) {
                return p.apply(new TokenLogLikelihood(), logits.values(), targets);
            }
            Value statistics = p.apply(new RowLogSumExp(), logits.values());
            statistics = p.apply(new AllGather(tensor, view.size(Axis.TP), 0), statistics);
            Value part = p.apply(new ShardedTokenLogLikelihood(logits.firstId()), logits.values(), statistics, targets);
            return p.apply(new AllReduce(tensor, 1), part);
        }

        private final class Writer {
            private final ModelBuilder builder;
            private final Map<Value, Slice> bound = new HashMap<>();
            private final Value hidden;

            Writer(String name, int batch, int numTokens) {
                builder = new ModelBuilder(
                        name,
                        new Setting(Mode.INFERENCE, view, Weights.WHOLE, batch, numTokens, 0),
                        List.of(new Unit("model", Group.of(), parameters)));
                weights.keySet().forEach(path -> bound.put(builder.inputs().get(path), weights.get(path)));
                Value x;
                if (isFirst()) {
                    x = input("tokens", batch, numTokens);
                } else {
                    x = builder.input("x", builder.hiddenType(model.config().width()));
                    bound.put(x, part("x", x));
                }
                bound.put(builder.positions(), part("positions", builder.positions()));
                Value starts = input("starts", batch);
                List<Value> cacheValues = new ArrayList<>();
                Shape shape = cacheShape(batch);
                for (int c = 0; c < caches.size(); c++) {
                    Value v = program().input("cache." + c, cacheType(shape));
                    bound.put(
                            v,
                            new Slice(
                                    Region.CACHE,
                                    caches.get(c).offset(),
                                    v.type().bytes()));
                    cacheValues.add(v);
                }
                x = isFirst() ? model.embed(builder, x) : x;
                for (int layer : layers) {
                    x = model.block(builder, layer, x, (l, qkv) -> attend(l, qkv, cacheValues, starts));
                }
                hidden = x;
            }

            private Value attend(int layer, Value qkv, List<Value> caches, Value starts) {
                CachedAttention op = new CachedAttention(model.heads(builder, layer));
                int first = 2 * (layer - layers.get(0));
                return program().apply(op, qkv, caches.get(first), caches.get(first + 1), starts);
            }

            private TensorType cacheType(Shape shape) {
                TensorType type = new TensorType(DType.F32, shape, Map.of());
                return view.tensor().isEmpty() ? type : type.with(Axis.TP, Placement.shard(1));
            }

            ProgramBuilder program() {
                return builder.program();
            }

            Value input(String name, long... dims) {
                Value v = builder.input(name, TensorType.of(DType.I32, dims));
                bound.put(v, part(name, v));
                return v;
            }

            void finish(Value output, String name) {
                bound.put(output, part(name, output));
                String segment = program().name();
                segments.put(segment, memory.place(program().build(List.of(output)), bound));
                List<Step> list = new ArrayList<>();
                if (!isFirst()) {
                    Slice x = part("x", builder.inputs().get("x"));
                    transfer(list, new Transfer(Direction.RECEIVE, stage - 1, segment + " " + (stage - 1), x, 0));
                }
                list.add(new Launch(segment, 0, 0));
                if (!isLast()) {
                    Slice y = part("y", output);
                    transfer(list, new Transfer(Direction.SEND, stage + 1, segment + " " + stage, y, 0));
                }
                steps.put(segment, List.copyOf(list));
            }

            private static void transfer(List<Step> list, Transfer transfer) {
                list.add(new StartTransfer(transfer));
                list.add(new AwaitTransfer(transfer));
            }

            private Slice part(String name, Value v) {
                Slice whole = inputs.get(name);
                return new Slice(whole.region(), whole.offset(), v.type().bytes());
            }
        }
    }
}
