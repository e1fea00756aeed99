package io.brazier.spark.ml;

import io.brazier.exec.GenerationConfig;
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
        int batchSize)
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
                model.getInferenceBatchSize());
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
