package io.brazier.plan;

import io.brazier.nn.Model;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ModelBuilder.Setting;
import io.brazier.nn.ModelBuilder.Weights;
import io.brazier.nn.ParameterSpec;
import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Instruction;
import io.brazier.program.Lookup.SelectToken;
import io.brazier.program.Loss.TokenLogLikelihood;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.ToLongFunction;

/**
 * The plan of a device that scores and decodes with a key/value cache. Shapes are static, so there is a segment for each batch of
 * 1, 2, 4, … rows, and for a chunk of tokens as well as for one; all share one cache and one set of inputs.
 *
 * @param weights place of each parameter by name
 * @param inputs places of tokens, positions, targets i32 [B, T], of starts and rows i32 [B], of logits [B, V] and of
 *     logLikelihood [B, T], each big enough for every segment
 */
public record InferencePlan(
        RankPlan plan, int maxBatch, int maxTokens, Map<String, Slice> weights, Map<String, Slice> inputs) {

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

    /** Plans for batches up to maxBatch (rounded up to a power of two) and sequences up to maxTokens. */
    public static InferencePlan make(
            Model model, int maxBatch, int maxTokens, ToLongFunction<Instruction> workspaceBytes) {
        if (maxBatch < 1 || maxTokens < 1 || maxTokens > model.config().maxPositions()) {
            throw new IllegalArgumentException("maxBatch " + maxBatch + " must be positive and maxTokens " + maxTokens
                    + " lie in [1, " + model.config().maxPositions() + "], the model's positions");
        }
        return new Maker(model, batchFor(maxBatch), maxTokens, new MemoryPlanner(workspaceBytes)).make();
    }

    private static final class Maker {
        private final Model model;
        private final int maxBatch;
        private final int maxTokens;
        private final MemoryPlanner memory;
        private final Map<String, Slice> weights = new LinkedHashMap<>();
        private final Map<String, Slice> inputs = new LinkedHashMap<>();
        private final List<Slice> caches = new ArrayList<>();
        private final Map<String, Segment> segments = new LinkedHashMap<>();

        Maker(Model model, int maxBatch, int maxTokens, MemoryPlanner memory) {
            this.model = model;
            this.maxBatch = maxBatch;
            this.maxTokens = maxTokens;
            this.memory = memory;
        }

        InferencePlan make() {
            for (ParameterSpec spec : model.parameters()) {
                weights.put(
                        spec.name(),
                        memory.reserve(
                                Region.WEIGHTS,
                                spec.type(RankView.ALONE.mesh(), 0).bytes()));
            }
            Shape cache = cacheShape(maxBatch);
            for (int x = 0; x < 2 * model.config().numLayers(); x++) {
                caches.add(memory.reserve(Region.CACHE, cache.numElements() * DType.F32.bytes()));
            }
            for (String name : List.of("tokens", "positions", "targets", "logLikelihood")) {
                inputs.put(name, memory.reserve(Region.INPUTS, 4L * maxBatch * CHUNK));
            }
            for (String name : List.of("starts", "rows")) {
                inputs.put(name, memory.reserve(Region.INPUTS, 4L * maxBatch));
            }
            long logitsBytes = 4L * maxBatch * model.config().vocabularySize();
            inputs.put("logits", memory.reserve(Region.INPUTS, logitsBytes));
            for (int batch = 1; batch <= maxBatch; batch *= 2) {
                next(batch, 1);
                next(batch, CHUNK);
                score(batch);
            }
            RankPlan plan = new RankPlan(Mesh.dataParallel(1), 0, memory.sizes(), segments, List.of());
            return new InferencePlan(plan, maxBatch, maxTokens, Map.copyOf(weights), Map.copyOf(inputs));
        }

        private Shape cacheShape(int batch) {
            return Shape.of(
                    batch,
                    model.config().numKeyValueHeads(),
                    capacity(),
                    model.config().headWidth());
        }

        /** Padded rows of a chunk write behind the last token, so the cache is one chunk longer than a sequence. */
        private int capacity() {
            return maxTokens + CHUNK;
        }

        private void next(int batch, int numTokens) {
            Writer w = new Writer(InferencePlan.next(batch, numTokens), batch, numTokens);
            Value rows = w.input("rows", batch);
            Value last = w.program().apply(new SelectToken(), w.hidden, rows);
            w.finish(model.head(w.builder, last).values(), "logits");
        }

        private void score(int batch) {
            Writer w = new Writer(InferencePlan.score(batch), batch, CHUNK);
            Value targets = w.input("targets", batch, CHUNK);
            Value logits = model.head(w.builder, w.hidden).values();
            w.finish(w.program().apply(new TokenLogLikelihood(), logits, targets), "logLikelihood");
        }

        private final class Writer {
            private final ModelBuilder builder;
            private final Map<Value, Slice> bound = new HashMap<>();
            private final Value hidden;

            Writer(String name, int batch, int numTokens) {
                builder = new ModelBuilder(
                        name,
                        new Setting(Mode.INFERENCE, RankView.ALONE, Weights.WHOLE, batch, numTokens, 0),
                        List.of(new Unit("model", Group.of(), model.parameters())));
                weights.keySet().forEach(path -> bound.put(builder.inputs().get(path), weights.get(path)));
                Value tokens = input("tokens", batch, numTokens);
                bound.put(builder.positions(), part("positions", builder.positions()));
                Value starts = input("starts", batch);
                List<Value> cacheValues = new ArrayList<>();
                Shape shape = cacheShape(batch);
                for (int x = 0; x < caches.size(); x++) {
                    Value v = program().input("cache." + x, new TensorType(DType.F32, shape, Map.of()));
                    bound.put(
                            v,
                            new Slice(
                                    Region.CACHE,
                                    caches.get(x).offset(),
                                    v.type().bytes()));
                    cacheValues.add(v);
                }
                Value x = model.embed(builder, tokens);
                for (int layer = 0; layer < model.config().numLayers(); layer++) {
                    x = model.block(builder, layer, x, (l, qkv) -> attend(l, qkv, cacheValues, starts));
                }
                hidden = x;
            }

            private Value attend(int layer, Value qkv, List<Value> caches, Value starts) {
                CachedAttention op = new CachedAttention(model.heads(builder, layer));
                return program().apply(op, qkv, caches.get(2 * layer), caches.get(2 * layer + 1), starts);
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
                segments.put(builder.program().name(), memory.place(program().build(List.of(output)), bound));
            }

            private Slice part(String name, Value v) {
                Slice whole = inputs.get(name);
                return new Slice(whole.region(), whole.offset(), v.type().bytes());
            }
        }
    }
}
