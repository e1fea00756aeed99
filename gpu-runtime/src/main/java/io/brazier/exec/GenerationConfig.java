package io.brazier.exec;

import java.util.List;

/**
 * How text is generated.
 *
 * @param temperature divides the logits; 0 takes the likeliest token
 * @param topK keeps the likeliest k tokens; 0 keeps all
 * @param topP keeps the likeliest tokens up to this probability; 1 keeps all (arXiv:1904.09751)
 * @param stopTokens end a row and are not part of it
 */
public record GenerationConfig(
        int maxNewTokens, double temperature, int topK, double topP, long seed, List<Integer> stopTokens) {

    public GenerationConfig {
        stopTokens = List.copyOf(stopTokens);
        if (maxNewTokens < 0) {
            throw new IllegalArgumentException("maxNewTokens " + maxNewTokens + " must be 0 or positive");
        }
        if (!(temperature >= 0) || Double.isInfinite(temperature)) {
            throw new IllegalArgumentException("temperature " + temperature + " must be 0 (greedy) or positive");
        }
        if (topK < 0) {
            throw new IllegalArgumentException("topK " + topK + " must be 0 (all) or positive");
        }
        if (!(topP > 0 && topP <= 1)) {
            throw new IllegalArgumentException("topP " + topP + " must lie in (0, 1]");
        }
    }
}
