package io.brazier.exec;

import io.brazier.nn.WeightSource;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.Slice;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.function.IntBinaryOperator;

/** Runs an {@link InferencePlan} on a back end. */
public final class PlannedInferenceEngine implements InferenceEngine {
    private final InferencePlan inference;
    private final LoadedPlan loaded;
    private final int vocabularySize;
    private int[] lengths = {};

    /** Takes ownership of loaded, which must hold inference.plan(). */
    public PlannedInferenceEngine(InferencePlan inference, LoadedPlan loaded, int vocabularySize, WeightSource source) {
        this.inference = inference;
        this.loaded = loaded;
        this.vocabularySize = vocabularySize;
        FloatBuffer chunk = FloatBuffer.allocate(LoadedPlan.maxTransferBytes() / Float.BYTES);
        inference.weights().forEach((name, slice) -> {
            for (long offset = 0; offset < slice.bytes(); offset += LoadedPlan.maxTransferBytes()) {
                int bytes = (int) Math.min(LoadedPlan.maxTransferBytes(), slice.bytes() - offset);
                chunk.clear().limit(bytes / Float.BYTES);
                source.read(name, offset / Float.BYTES, chunk);
                loaded.write(slice, offset, bytes, b -> b.asFloatBuffer().put(chunk.flip()));
            }
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
            loaded.run(InferencePlan.score(batch), 0);
            for (int r = 0; r < rows.length; r++) {
                int count = Math.min(InferencePlan.CHUNK, result[r].length - start);
                if (count > 0) {
                    readFloats("logLikelihood", r * InferencePlan.CHUNK, result[r], start, count);
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
        float[][] logits = new float[prompts.length][vocabularySize];
        for (int start = 0; start < longest; start += InferencePlan.CHUNK) {
            int from = start;
            feedChunk(prompts, batch, start);
            writeInts(
                    "rows",
                    batch,
                    1,
                    (r, t) -> r < prompts.length && endsIn(prompts[r], from) ? prompts[r].length - 1 - from : 0);
            loaded.run(InferencePlan.next(batch, InferencePlan.CHUNK), 0);
            for (int r = 0; r < prompts.length; r++) {
                if (endsIn(prompts[r], start)) {
                    readFloats("logits", (long) r * vocabularySize, logits[r], 0, vocabularySize);
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
        loaded.run(InferencePlan.next(batch, 1), 0);
        float[][] logits = new float[tokens.length][vocabularySize];
        for (int r = 0; r < tokens.length; r++) {
            readFloats("logits", (long) r * vocabularySize, logits[r], 0, vocabularySize);
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

    private void writeInts(String input, int batch, int width, IntBinaryOperator value) {
        loaded.write(inference.inputs().get(input), 0, batch * width * Integer.BYTES, b -> {
            for (int r = 0; r < batch; r++) {
                for (int t = 0; t < width; t++) {
                    b.putInt(value.applyAsInt(r, t));
                }
            }
        });
    }

    private void readFloats(String input, long first, float[] target, int at, int count) {
        Slice slice = inference.inputs().get(input);
        int perTransfer = LoadedPlan.maxTransferBytes() / Float.BYTES;
        for (int done = 0; done < count; done += perTransfer) {
            int part = Math.min(perTransfer, count - done);
            ByteBuffer bytes = loaded.read(slice, (first + done) * Float.BYTES, part * Float.BYTES);
            bytes.asFloatBuffer().get(target, at + done, part);
        }
    }

    @Override
    public void close() {
        loaded.close();
    }
}
