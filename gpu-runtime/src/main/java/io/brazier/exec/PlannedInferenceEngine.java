package io.brazier.exec;

import io.brazier.nn.WeightSource;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.Slice;
import io.brazier.tensor.Range;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntBinaryOperator;

/** Runs an {@link InferencePlan} on a back end. Under a mesh all ranks call with equal arguments and get equal results. */
public final class PlannedInferenceEngine implements InferenceEngine {

    /** Gives what some ranks hold to all. */
    public interface Gather {
        /** Of a device that holds the whole model. */
        Gather ALONE = mine -> new byte[][] {mine};

        /** The parts of all ranks, by rank. */
        byte[][] gather(byte[] mine);
    }

    private final InferencePlan inference;
    private final LoadedPlan loaded;
    private final int vocabularySize;
    private final Gather gather;
    private int[] lengths = {};

    /**
     * Takes ownership of loaded, which must hold inference.plan().
     *
     * @param gather among the ranks of the plan's mesh
     */
    public PlannedInferenceEngine(
            InferencePlan inference, LoadedPlan loaded, int vocabularySize, WeightSource source, Gather gather) {
        this.inference = inference;
        this.loaded = loaded;
        this.vocabularySize = vocabularySize;
        this.gather = gather;
        FloatBuffer chunk = FloatBuffer.allocate(LoadedPlan.maxTransferBytes() / Float.BYTES);
        inference.shards().forEach((name, shard) -> {
            Slice slice = inference.weights().get(name);
            shard.forEachRun(0, shard.shape().numElements(), (global, local, count) -> {
                for (long done = 0; done < count; done += chunk.capacity()) {
                    chunk.clear().limit((int) Math.min(chunk.capacity(), count - done));
                    source.read(name, global + done, chunk);
                    int bytes = chunk.flip().limit() * Float.BYTES;
                    loaded.write(slice, (local + done) * Float.BYTES, bytes, b -> b.asFloatBuffer()
                            .put(chunk));
                }
            });
        });
    }

    @Override
    public int maxBatch() {
        return inference.maxBatch();
    }

    @Override
    public int maxTokens() {
        return inference.maxTokens();
    }

    @Override
    public int vocabularySize() {
        return vocabularySize;
    }

    @Override
    public float[][] logLikelihood(int[][] rows) {
        check(rows);
        loaded.bindThread();
        int batch = InferencePlan.batchFor(rows.length);
        int longest = Arrays.stream(rows).mapToInt(r -> r.length - 1).max().orElse(0);
        float[][] result = new float[rows.length][];
        for (int r = 0; r < rows.length; r++) {
            result[r] = new float[rows[r].length - 1];
        }
        for (int start = 0; start < longest; start += InferencePlan.CHUNK) {
            feedChunk(rows, batch, start);
            int from = start;
            writeInts(
                    "targets",
                    batch,
                    InferencePlan.CHUNK,
                    (r, t) -> r < rows.length && from + t + 1 < rows[r].length ? rows[r][from + t + 1] : -1);
            run(InferencePlan.score(batch));
            FloatBuffer scores = scores(rows.length);
            for (int r = 0; r < rows.length; r++) {
                int count = Math.min(InferencePlan.CHUNK, result[r].length - start);
                if (count > 0) {
                    scores.get(r * InferencePlan.CHUNK, result[r], start, count);
                }
            }
        }
        lengths = new int[0];
        return result;
    }

    @Override
    public float[][] prefill(int[][] prompts) {
        check(prompts);
        loaded.bindThread();
        int batch = InferencePlan.batchFor(prompts.length);
        int longest = Arrays.stream(prompts).mapToInt(p -> p.length).max().orElse(0);
        float[][] logits = new float[prompts.length][];
        for (int start = 0; start < longest; start += InferencePlan.CHUNK) {
            int from = start;
            feedChunk(prompts, batch, start);
            writeInts(
                    "rows",
                    batch,
                    1,
                    (r, t) -> r < prompts.length && endsIn(prompts[r], from) ? prompts[r].length - 1 - from : 0);
            run(InferencePlan.next(batch, InferencePlan.CHUNK));
            float[][] next = Arrays.stream(prompts).anyMatch(p -> endsIn(p, from)) ? logits(prompts.length) : null;
            for (int r = 0; r < prompts.length; r++) {
                if (endsIn(prompts[r], start)) {
                    logits[r] = next[r];
                }
            }
        }
        lengths = Arrays.stream(prompts).mapToInt(p -> p.length).toArray();
        return logits;
    }

    private static boolean endsIn(int[] row, int start) {
        return row.length > start && row.length <= start + InferencePlan.CHUNK;
    }

    @Override
    public float[][] decode(int[] tokens) {
        if (tokens.length != lengths.length) {
            throw new IllegalArgumentException(
                    "decode takes a token for each of the " + lengths.length + " prompts, not " + tokens.length);
        }
        for (int r = 0; r < lengths.length; r++) {
            if (lengths[r] >= maxTokens()) {
                throw new IllegalArgumentException(
                        "row " + r + " already has the " + maxTokens() + " tokens that fit: prefill a shorter prompt");
            }
        }
        loaded.bindThread();
        int batch = InferencePlan.batchFor(tokens.length);
        writeInts("tokens", batch, 1, (r, t) -> r < tokens.length ? tokens[r] : 0);
        writeInts("positions", batch, 1, (r, t) -> r < tokens.length ? lengths[r] : 0);
        writeInts("starts", batch, 1, (r, t) -> r < tokens.length ? lengths[r] : 0);
        writeInts("rows", batch, 1, (r, t) -> 0);
        run(InferencePlan.next(batch, 1));
        float[][] logits = logits(tokens.length);
        for (int r = 0; r < tokens.length; r++) {
            lengths[r]++;
        }
        return logits;
    }

    /** Writes tokens, positions and starts of one chunk; rows that are over get padding behind their last token. */
    private void feedChunk(int[][] rows, int batch, int start) {
        int last = maxTokens() - 1;
        writeInts(
                "tokens",
                batch,
                InferencePlan.CHUNK,
                (r, t) -> r < rows.length && start + t < rows[r].length ? rows[r][start + t] : 0);
        writeInts("starts", batch, 1, (r, t) -> r < rows.length ? Math.min(start, rows[r].length) : 0);
        writeInts(
                "positions",
                batch,
                InferencePlan.CHUNK,
                (r, t) -> r < rows.length ? Math.min(last, Math.min(start, rows[r].length) + t) : 0);
    }

    private void check(int[][] rows) {
        if (rows.length > maxBatch()) {
            throw new IllegalArgumentException(rows.length + " rows, but this engine was planned for " + maxBatch());
        }
        for (int r = 0; r < rows.length; r++) {
            if (rows[r].length < 1 || rows[r].length > maxTokens()) {
                throw new IllegalArgumentException(
                        "row " + r + " has " + rows[r].length + " tokens: between 1 and " + maxTokens() + " fit");
            }
            for (int token : rows[r]) {
                if (token < 0 || token >= vocabularySize) {
                    throw new IllegalArgumentException(
                            "row " + r + " holds token " + token + ", outside [0, " + vocabularySize + ")");
                }
            }
        }
    }

    private void run(String segment) {
        inference.steps().get(segment).forEach(loaded::run);
    }

    /** Logits [rows][V] of the columns that the last stage's ranks hold. */
    private float[][] logits(int rows) {
        List<List<Range>> columnsByRank = inference.logits();
        long mine = rows * Range.total(columnsByRank.get(inference.plan().rank()));
        FloatBuffer[] parts = gather("logits", mine);
        float[][] logits = new float[rows][vocabularySize];
        for (int rank = 0; rank < parts.length; rank++) {
            for (int r = 0; r < rows; r++) {
                for (Range range : columnsByRank.get(rank)) {
                    parts[rank].get(logits[r], (int) range.start(), (int) range.length());
                }
            }
        }
        return logits;
    }

    /** A chunk's scores [rows][CHUNK] come from the first rank of the last stage; its peers hold the same. */
    private FloatBuffer scores(int rows) {
        int rank = inference.logits().size() - inference.plan().mesh().tp();
        boolean mine = rank == inference.plan().rank();
        return gather("logLikelihood", mine ? rows * InferencePlan.CHUNK : 0)[rank];
    }

    /** What each rank read from a place of its device; count numbers here. */
    private FloatBuffer[] gather(String name, long count) {
        byte[] mine = new byte[Math.toIntExact(count * Float.BYTES)];
        for (int done = 0; done < mine.length; done += LoadedPlan.maxTransferBytes()) {
            int part = Math.min(LoadedPlan.maxTransferBytes(), mine.length - done);
            loaded.read(inference.inputs().get(name), done, part).get(mine, done, part);
        }
        return Arrays.stream(gather.gather(mine))
                .map(part ->
                        ByteBuffer.wrap(part).order(ByteOrder.nativeOrder()).asFloatBuffer())
                .toArray(FloatBuffer[]::new);
    }

    private void writeInts(String input, int batch, int width, IntBinaryOperator value) {
        loaded.write(inference.inputs().get(input), 0, batch * width * Integer.BYTES, b -> {
            for (int r = 0; r < batch; r++) {
                for (int t = 0; t < width; t++) {
                    b.putInt(value.applyAsInt(r, t));
                }
            }
        });
    }

    @Override
    public void close() {
        loaded.close();
    }
}
