package io.brazier.exec;

import java.util.Arrays;
import java.util.function.LongConsumer;

/**
 * Continues rows of tokens. But for rounding, a row's continuation does not depend on the rows beside it. Of a prompt that is
 * longer than the engine's cache, the last part is used; when a row fills its cache, its last half is fed again and generation goes
 * on.
 */
public final class TextGenerator {
    private final InferenceEngine engine;
    private final GenerationConfig config;
    private final Sampler sampler;

    public TextGenerator(InferenceEngine engine, GenerationConfig config) {
        this.engine = engine;
        this.config = config;
        this.sampler = new Sampler(config);
    }

    /**
     * New tokens of each row, at most maxNewTokens, without the stop token.
     *
     * @param prompts at most engine.maxBatch() rows, none empty
     * @param keys tell rows apart in the draw of random numbers
     */
    public int[][] generate(int[][] prompts, long[] keys) {
        return generate(prompts, keys, x -> {});
    }

    /** As above; progress hears of every finished token, with the number of tokens made so far. */
    public int[][] generate(int[][] prompts, long[] keys, LongConsumer progress) {
        Row[] rows = new Row[prompts.length];
        for (int r = 0; r < rows.length; r++) {
            rows[r] = new Row(prompts[r], keys[r]);
        }
        float[][] logits = config.maxNewTokens() == 0 ? null : feed(rows);
        for (int made = 0; made < config.maxNewTokens(); made++) {
            int[] next = new int[rows.length];
            for (int r = 0; r < rows.length; r++) {
                next[r] = rows[r].take(logits[r]);
            }
            progress.accept(made + 1);
            if (Arrays.stream(rows).allMatch(row -> row.finished) || made + 1 == config.maxNewTokens()) {
                break;
            }
            boolean full = Arrays.stream(rows).anyMatch(row -> row.cached == engine.maxTokens());
            logits = full ? feed(rows) : decode(rows, next);
        }
        return Arrays.stream(rows).map(Row::made).toArray(int[][]::new);
    }

    private float[][] decode(Row[] rows, int[] next) {
        for (Row row : rows) {
            row.cached++;
        }
        return engine.decode(next);
    }

    /** Feeds the context of each row to an empty cache. */
    private float[][] feed(Row[] rows) {
        int[][] context = new int[rows.length][];
        for (int r = 0; r < rows.length; r++) {
            context[r] = rows[r].context();
            rows[r].cached = context[r].length;
        }
        return engine.prefill(context);
    }

    private final class Row {
        private final int promptLength;
        private final long key;
        private int[] tokens;
        private int length;
        private int contextStart;
        private int cached;
        private boolean finished;

        Row(int[] prompt, long key) {
            this.promptLength = prompt.length;
            this.key = key;
            this.tokens = Arrays.copyOf(prompt, prompt.length + config.maxNewTokens());
            this.length = prompt.length;
            this.contextStart = Math.max(0, length - engine.maxTokens());
        }

        /** Draws the next token and returns what the engine is fed, also for a row that is over. */
        int take(float[] logits) {
            if (finished) {
                return tokens[length - 1];
            }
            int token = sampler.sample(logits, key, length);
            if (config.stopTokens().contains(token)) {
                finished = true;
                return tokens[length - 1];
            }
            tokens[length++] = token;
            return token;
        }

        /** What the cache must hold to go on; of a row that is over, the least there can be. */
        int[] context() {
            if (finished) {
                contextStart = length - 1;
            } else if (length - contextStart > engine.maxTokens()) {
                contextStart = length - Math.max(1, engine.maxTokens() / 2);
            }
            return Arrays.copyOfRange(tokens, contextStart, length);
        }

        int[] made() {
            return Arrays.copyOfRange(tokens, promptLength, length);
        }
    }
}
