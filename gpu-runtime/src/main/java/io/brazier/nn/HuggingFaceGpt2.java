package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.SafetensorsWriter;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.program.Elementwise.Function;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;

/** GPT-2 to and from Hugging Face's files: names with or without {@code transformer.}. */
public final class HuggingFaceGpt2 {
    private static final String PREFIX = "transformer.";
    private static final String HEAD = "lm_head.weight";

    /** Hugging Face's names of activations; the first of each function is the one that is written. */
    private static final Map<String, Function> ACTIVATIONS = activations();

    private HuggingFaceGpt2() {}

    private static Map<String, Function> activations() {
        Map<String, Function> names = new LinkedHashMap<>();
        names.put("gelu_new", Function.GELU_TANH);
        names.put("gelu_pytorch_tanh", Function.GELU_TANH);
        names.put("gelu_fast", Function.GELU_TANH);
        names.put("gelu", Function.GELU);
        names.put("gelu_python", Function.GELU);
        names.put("relu", Function.RELU);
        names.put("silu", Function.SILU);
        names.put("swish", Function.SILU);
        return names;
    }

    /** @throws CheckpointException when the file describes another model, or an option that is not computed here */
    public static GptConfig config(HuggingFaceModel model) {
        JsonNode c = model.config();
        List<String> violations = new ArrayList<>();
        require(
                violations,
                c.path("model_type").asText().equals("gpt2"),
                "model_type " + c.path("model_type") + " is not gpt2");
        String activation = c.path("activation_function").asText("gelu_new");
        require(
                violations,
                ACTIVATIONS.containsKey(activation),
                "activation_function " + activation + " is none of " + ACTIVATIONS.keySet());
        require(violations, !c.path("add_cross_attention").asBoolean(false), "add_cross_attention is true");
        if (!violations.isEmpty()) {
            throw new CheckpointException(model.directory() + "/config.json", String.join("; ", violations));
        }
        int width = size(model, "n_embd", 768);
        int hidden = c.path("n_inner").isNumber() ? size(model, "n_inner", 0) : 4 * width;
        try {
            return new GptConfig(
                    size(model, "vocab_size", 50257),
                    size(model, "n_positions", 1024),
                    size(model, "n_layer", 12),
                    size(model, "n_head", 12),
                    width,
                    hidden,
                    c.path("layer_norm_epsilon").asDouble(1e-5),
                    ACTIVATIONS.get(activation),
                    variants(c));
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(model.directory() + "/config.json", e.getMessage(), e);
        }
    }

    private static Set<Variant> variants(JsonNode c) {
        Set<Variant> variants = EnumSet.noneOf(Variant.class);
        if (!c.path("tie_word_embeddings").asBoolean(true)) {
            variants.add(Variant.UNTIED_HEAD);
        }
        if (!c.path("scale_attn_weights").asBoolean(true)) {
            variants.add(Variant.UNSCALED_ATTENTION);
        }
        if (c.path("scale_attn_by_inverse_layer_idx").asBoolean(false)) {
            variants.add(Variant.ATTENTION_SCALED_BY_LAYER);
        }
        return variants;
    }

    private static void require(List<String> violations, boolean holds, String violation) {
        if (!holds) {
            violations.add(violation);
        }
    }

    private static int size(HuggingFaceModel model, String field, int absent) {
        JsonNode value = model.config().path(field);
        if (value.isMissingNode()) {
            return absent;
        }
        if (!value.isIntegralNumber() || !value.canConvertToInt() || value.intValue() < 1) {
            throw new CheckpointException(model.directory() + "/config.json", field + " is " + value);
        }
        return value.intValue();
    }

    /** @throws CheckpointException listing all tensors that are missing, unknown or of another shape */
    public static WeightSource weights(HuggingFaceModel model, GptConfig config) {
        boolean untied = config.variants().contains(Variant.UNTIED_HEAD);
        Map<String, String> tensors = new HashMap<>();
        Map<String, String> names = new HashMap<>();
        List<String> violations = new ArrayList<>();
        for (String name : model.names()) {
            String parameter = name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
            boolean buffer = parameter.matches("h\\.\\d+\\.attn\\.(bias|masked_bias)");
            boolean copyOfEmbedding = parameter.equals(HEAD) && !untied;
            if (!buffer && !copyOfEmbedding) {
                tensors.put(parameter, name);
            }
        }
        for (ParameterSpec spec : new Gpt(config).parameters()) {
            String name = tensors.remove(spec.name());
            names.put(spec.name(), name);
            if (name == null) {
                violations.add("has no " + spec.name());
            } else if (!model.shape(name).equals(spec.shape().dims())) {
                violations.add(name + " has shape " + model.shape(name) + ", not " + spec.shape());
            }
        }
        tensors.values().forEach(name -> violations.add("holds " + name + ", which GPT-2 does not have"));
        if (!violations.isEmpty()) {
            throw new CheckpointException(model.directory(), String.join("; ", violations));
        }
        return (parameter, offset, target) -> model.read(names.get(parameter), offset, target);
    }

    /** The content of config.json. */
    public static JsonNode configJson(GptConfig config, double dropout, OptionalInt endOfText) {
        ObjectNode c = Json.mapper().createObjectNode();
        c.putArray("architectures").add("GPT2LMHeadModel");
        c.put("model_type", "gpt2").put("activation_function", activationName(config.activation()));
        c.put("vocab_size", config.vocabularySize()).put("n_positions", config.maxPositions());
        c.put("n_layer", config.numLayers()).put("n_head", config.numHeads()).put("n_embd", config.width());
        c.put("n_inner", config.hiddenWidth()).put("layer_norm_epsilon", config.layerNormEpsilon());
        c.put("embd_pdrop", dropout).put("resid_pdrop", dropout).put("attn_pdrop", 0.0);
        c.put("tie_word_embeddings", !config.variants().contains(Variant.UNTIED_HEAD));
        c.put("scale_attn_weights", !config.variants().contains(Variant.UNSCALED_ATTENTION));
        c.put("scale_attn_by_inverse_layer_idx", config.variants().contains(Variant.ATTENTION_SCALED_BY_LAYER));
        c.put("torch_dtype", "float32");
        for (String field : List.of("bos_token_id", "eos_token_id")) {
            if (endOfText.isPresent()) {
                c.put(field, endOfText.getAsInt());
            } else {
                c.putNull(field);
            }
        }
        return c;
    }

    private static String activationName(Function function) {
        return ACTIVATIONS.entrySet().stream()
                .filter(e -> e.getValue() == function)
                .map(Map.Entry::getKey)
                .findFirst()
                .orElseThrow();
    }

    /** The tensors of model.safetensors. */
    public static List<SafetensorsWriter.Tensor> tensors(GptConfig config, WeightSource weights) {
        return new Gpt(config)
                .parameters().stream()
                        .map(spec -> new SafetensorsWriter.Tensor(
                                spec.name().equals(HEAD) ? HEAD : PREFIX + spec.name(),
                                spec.shape().dims(),
                                (offset, target) -> weights.read(spec.name(), offset, target)))
                        .toList();
    }
}
