package io.brazier.exec;

import io.brazier.tensor.Philox;
import java.util.Arrays;
import java.util.Comparator;
import java.util.stream.IntStream;

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
     */
    int sample(float[] logits, long rowKey, int position) {
        if (config.temperature() == 0) {
            return likeliest(logits);
        }
        int[] candidates = candidates(logits);
        double max = logits[likeliest(logits)];
        double[] weights = Arrays.stream(candidates)
                .mapToDouble(token -> Math.exp((logits[token] - max) / config.temperature()))
                .toArray();
        int kept = nucleus(weights);
        double sum = Arrays.stream(weights, 0, kept).sum();
        double draw = sum * uniform(rowKey, position);
        for (int x = 0; x < kept - 1; x++) {
            draw -= weights[x];
            if (draw < 0) {
                return candidates[x];
            }
        }
        return candidates[kept - 1];
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

    /** Tokens that top-k leaves; sorted by falling likelihood where something is cut off. */
    private int[] candidates(float[] logits) {
        boolean all = config.topK() == 0 || config.topK() >= logits.length;
        IntStream tokens = IntStream.range(0, logits.length);
        if (all && config.topP() == 1) {
            return tokens.toArray();
        }
        return tokens.boxed()
                .sorted(Comparator.comparingDouble((Integer token) -> -logits[token]))
                .limit(all ? logits.length : config.topK())
                .mapToInt(Integer::intValue)
                .toArray();
    }

    /** Number of leading weights that together reach top-p; always at least one. */
    private int nucleus(double[] weights) {
        if (config.topP() == 1) {
            return weights.length;
        }
        double wanted = config.topP() * Arrays.stream(weights).sum();
        int kept = 0;
        for (double reached = 0; kept < weights.length && reached < wanted; kept++) {
            reached += weights[kept];
        }
        return Math.max(1, kept);
    }

    private double uniform(long rowKey, int position) {
        int[] words = Philox.words(position, 0, (int) rowKey, (int) (rowKey >>> 32), config.seed());
        return ((long) (words[0] >>> 5) * (1L << 26) + (words[1] >>> 6)) * 0x1p-53;
    }
}
