package io.brazier.spark.ml;

import io.brazier.exec.GenerationConfig;
import io.brazier.nn.ModelConfig;
import io.brazier.text.Tokenizer;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/** The params of a model that executors need. */
record InferenceSettings(
        boolean generates,
        int maxNewTokens,
        double temperature,
        int topK,
        double topP,
        long seed,
        List<String> stop,
        int contextLength,
        int batchSize,
        String device)
        implements Serializable {
    static InferenceSettings of(CausalLMModel model) {
        return new InferenceSettings(
                model.getTask().equals("generate"),
                model.getMaxNewTokens(),
                model.getTemperature(),
                model.getTopK(),
                model.getTopP(),
                model.getSeed(),
                new ArrayList<>(Arrays.asList(model.getStop())),
                model.getContextLength(),
                model.getInferenceBatchSize(),
                model.getDevice());
    }

    /**
     * Tokens that a model sees at once.
     *
     * @throws IllegalArgumentException when it has fewer positions than asked for, or too few to score
     */
    int maxTokens(ModelConfig config) {
        int wanted = contextLength == 0 ? config.maxPositions() : contextLength;
        if (wanted < 2 || wanted > config.maxPositions()) {
            throw new IllegalArgumentException("contextLength " + wanted + " must lie in [2, " + config.maxPositions()
                    + "], the model's positions");
        }
        return wanted;
    }

    /** @throws IllegalArgumentException when a stop text is not exactly one token */
    GenerationConfig generation(Tokenizer tokenizer) {
        List<Integer> stopTokens = new ArrayList<>();
        for (String text : stop) {
            int[] ids = tokenizer.encode(text);
            if (ids.length != 1) {
                throw new IllegalArgumentException("stop text \"" + text + "\" is " + ids.length
                        + " tokens of this tokenizer, but must be one: choose another");
            }
            stopTokens.add(ids[0]);
        }
        return new GenerationConfig(maxNewTokens, temperature, topK, topP, seed, stopTokens);
    }
}
