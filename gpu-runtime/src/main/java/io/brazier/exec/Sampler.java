package io.brazier.exec;

import io.brazier.tensor.Philox;
import java.util.Arrays;
import java.util.Collections;
import java.util.PriorityQueue;
import java.util.stream.IntStream;
import java.util.stream.LongStream;

/** Chooses the next token of a row. The draw depends on the seed, the row's key and the position alone. */
final class Sampler {
    private final GenerationConfig config;

    Sampler(GenerationConfig config) {
        this.config = config;
    }

    /**
     * @param logits [V]; among equals the lowest token comes first
     * @param rowKey tells rows apart, whatever batch they are in
     * @param position number of tokens before the one that is drawn
     * @throws IllegalArgumentException when the likeliest logit is not finite
     */
    int sample(float[] logits, long rowKey, int position) {
        int likeliest = likeliest(logits);
        float max = logits[likeliest];
        if (!Float.isFinite(max)) {
            throw new IllegalArgumentException("the logits behind token " + position + " of row " + rowKey
                    + " are not finite: the model's weights are damaged or its training diverged");
        }
        if (config.temperature() == 0) {
            return likeliest;
        }
        boolean all = config.topK() == 0 || config.topK() >= logits.length;
        int[] tokens = all ? IntStream.range(0, logits.length).toArray() : likeliest(logits, config.topK());
        double[] weights = weights(logits, tokens, max);
        double sum = Arrays.stream(weights).sum();
        if (config.topP() < 1) {
            if (all) {
                tokens = head(logits, weights, sum);
                weights = weights(logits, tokens, max);
            }
            tokens = Arrays.copyOf(tokens, nucleus(weights, config.topP() * sum));
            sum = Arrays.stream(weights, 0, tokens.length).sum();
        }
        return draw(tokens, weights, sum * uniform(rowKey, position));
    }

    private static int likeliest(float[] logits) {
        int best = 0;
        for (int token = 1; token < logits.length; token++) {
            if (logits[token] > logits[best]) {
                best = token;
            }
        }
        return best;
    }

    /** The k likeliest tokens, likeliest first. Few of a large vocabulary ever enter the queue. */
    private static int[] likeliest(float[] logits, int k) {
        PriorityQueue<Long> kept = new PriorityQueue<>(k, Collections.reverseOrder());
        long worst = Long.MAX_VALUE;
        for (int token = 0; token < logits.length; token++) {
            long key = key(logits, token);
            if (kept.size() < k) {
                kept.add(key);
            } else if (key < worst) {
                kept.remove();
                kept.add(key);
            } else {
                continue;
            }
            worst = kept.element();
        }
        return inOrder(kept.stream().mapToLong(Long::longValue));
    }

    /**
     * The tokens that can be in the nucleus, likeliest first. Those below 1 / V of what top-p cuts off cannot: together they weigh
     * less than that.
     */
    private int[] head(float[] logits, double[] weights, double sum) {
        double floor = (1 - config.topP()) * sum / weights.length;
        return inOrder(IntStream.range(0, weights.length)
                .filter(token -> weights[token] >= floor)
                .mapToLong(token -> key(logits, token)));
    }

    private static int[] inOrder(LongStream keys) {
        return keys.sorted().mapToInt(key -> (int) key).toArray();
    }

    /** A number that sorts likelier tokens first, and of equals the lower token. */
    private static long key(float[] logits, int token) {
        int bits = Float.floatToIntBits(0f - logits[token]);
        int ordered = bits ^ ((bits >> 31) & Integer.MAX_VALUE);
        return (long) ordered << 32 | token;
    }

    private double[] weights(float[] logits, int[] tokens, float max) {
        double[] weights = new double[tokens.length];
        for (int x = 0; x < tokens.length; x++) {
            weights[x] = Math.exp((logits[tokens[x]] - max) / config.temperature());
        }
        return weights;
    }

    /** Number of leading weights that together reach what is wanted; always at least one. */
    private static int nucleus(double[] weights, double wanted) {
        int kept = 0;
        for (double reached = 0; kept < weights.length && reached < wanted; kept++) {
            reached += weights[kept];
        }
        return Math.max(1, kept);
    }

    private static int draw(int[] tokens, double[] weights, double at) {
        for (int x = 0; x < tokens.length - 1; x++) {
            at -= weights[x];
            if (at < 0) {
                return tokens[x];
            }
        }
        return tokens[tokens.length - 1];
    }

    private double uniform(long rowKey, int position) {
        int[] words = Philox.words(position, 0, (int) rowKey, (int) (rowKey >>> 32), config.seed());
        return ((long) (words[0] >>> 5) * (1L << 26) + (words[1] >>> 6)) * 0x1p-53;
    }
}
