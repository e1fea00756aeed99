package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.SafetensorsWriter;
import java.util.List;
import java.util.OptionalInt;
import java.util.Set;
import java.util.TreeSet;

/** Models to and from Hugging Face's files: of model_type gpt2, llama, mistral and mixtral. */
public final class HuggingFace {
    private static final String GPT2 = "gpt2";

    private HuggingFace() {}

    /** @throws CheckpointException naming all that the files' config says and that is not computed here */
    public static ModelConfig config(HuggingFaceModel model) {
        String type = model.config().path("model_type").asText();
        if (type.equals(GPT2)) {
            return HuggingFaceGpt2.config(model);
        }
        if (HuggingFaceLlama.TYPES.contains(type)) {
            return HuggingFaceLlama.config(model);
        }
        Set<String> known = new TreeSet<>(HuggingFaceLlama.TYPES);
        known.add(GPT2);
        throw new CheckpointException(
                model.directory() + "/config.json",
                "model_type " + model.config().path("model_type") + " is none of " + known);
    }

    /**
     * Weights that are read when they are asked for, and no more of a file than that.
     *
     * @throws CheckpointException listing all tensors that are missing, unknown or of another shape
     */
    public static WeightSource weights(HuggingFaceModel model, ModelConfig config) {
        return layout(config).open(model);
    }

    /** The content of config.json. */
    public static JsonNode configJson(ModelConfig config, double dropout, OptionalInt endOfText) {
        return config instanceof GptConfig gpt
                ? HuggingFaceGpt2.configJson(gpt, dropout, endOfText)
                : HuggingFaceLlama.configJson((LlamaConfig) config, endOfText);
    }

    /** The tensors of the safetensors files. */
    public static List<SafetensorsWriter.Tensor> tensors(ModelConfig config, WeightSource weights) {
        return layout(config).tensors(weights);
    }

    /** Names the token that ends texts, or says that there is none. */
    static JsonNode withEndOfText(ObjectNode config, OptionalInt endOfText) {
        for (String field : List.of("bos_token_id", "eos_token_id")) {
            if (endOfText.isPresent()) {
                config.put(field, endOfText.getAsInt());
            } else {
                config.putNull(field);
            }
        }
        return config;
    }

    private static TensorLayout layout(ModelConfig config) {
        return config instanceof GptConfig gpt
                ? HuggingFaceGpt2.layout(gpt)
                : HuggingFaceLlama.layout((LlamaConfig) config);
    }
}
