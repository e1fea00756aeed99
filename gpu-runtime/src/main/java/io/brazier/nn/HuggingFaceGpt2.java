package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.SafetensorsWriter;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.program.Elementwise.Function;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.EnumSet;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;

/** GPT-2 to and from Hugging Face's files: names with or without {@code transformer.}. */
public final class HuggingFaceGpt2 {
    private static final String PREFIX = "transformer.";
    private static final String HEAD = "lm_head.weight";
    private static final String EMBEDDING = "wte.weight";

    /** Masks that old files carry along. */
    private static final Pattern BUFFER = Pattern.compile("h\\.\\d+\\.attn\\.(bias|masked_bias)");

    /** Largest size of a config: products of two sizes stay far below 2^63, four times one below 2^31. */
    private static final int MAX_SIZE = 1 << 28;

    private static final int CHUNK = 1 << 18;

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

    /** @throws CheckpointException when the files describe another model, or an option that is not computed here */
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
        require(violations, !flag(violations, c, "add_cross_attention", false), "add_cross_attention is true");
        int width = size(violations, c, "n_embd", 768);
        int numLayers = size(violations, c, "n_layer", 12);
        // A layer has twelve tensors; whoever claims more than there are would have us list them all.
        require(
                violations,
                numLayers <= model.names().size(),
                "n_layer is " + numLayers + ", but the files hold "
                        + model.names().size() + " tensors");
        int vocabularySize = size(violations, c, "vocab_size", 50257);
        int maxPositions = size(violations, c, "n_positions", 1024);
        int numHeads = size(violations, c, "n_head", 12);
        int hiddenWidth = c.path("n_inner").isNull() ? 4 * width : size(violations, c, "n_inner", 4 * width);
        JsonNode epsilon = c.path("layer_norm_epsilon");
        require(
                violations,
                epsilon.isMissingNode() || epsilon.isNumber(),
                "layer_norm_epsilon " + epsilon + " is no number");
        Set<Variant> variants = variants(violations, c);
        refuse(path(model), violations);
        try {
            return new GptConfig(
                    vocabularySize,
                    maxPositions,
                    numLayers,
                    numHeads,
                    width,
                    hiddenWidth,
                    epsilon.asDouble(1e-5),
                    ACTIVATIONS.get(activation),
                    variants);
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(path(model), e.getMessage(), e);
        }
    }

    private static String path(HuggingFaceModel model) {
        return model.directory() + "/config.json";
    }

    private static Set<Variant> variants(List<String> violations, JsonNode c) {
        Set<Variant> variants = EnumSet.noneOf(Variant.class);
        if (!flag(violations, c, "tie_word_embeddings", true)) {
            variants.add(Variant.UNTIED_HEAD);
        }
        if (!flag(violations, c, "scale_attn_weights", true)) {
            variants.add(Variant.UNSCALED_ATTENTION);
        }
        if (flag(violations, c, "scale_attn_by_inverse_layer_idx", false)) {
            variants.add(Variant.ATTENTION_SCALED_BY_LAYER);
        }
        return variants;
    }

    private static void require(List<String> violations, boolean holds, String violation) {
        if (!holds) {
            violations.add(violation);
        }
    }

    private static void refuse(String path, List<String> violations) {
        if (!violations.isEmpty()) {
            throw new CheckpointException(path, String.join("; ", violations));
        }
    }

    private static boolean flag(List<String> violations, JsonNode c, String field, boolean absent) {
        JsonNode value = c.path(field);
        require(
                violations,
                value.isMissingNode() || value.isBoolean(),
                field + " " + value + " is neither true nor false");
        return value.asBoolean(absent);
    }

    private static int size(List<String> violations, JsonNode c, String field, int absent) {
        JsonNode value = c.path(field);
        if (value.isMissingNode()) {
            return absent;
        }
        if (!value.isInt() || value.intValue() < 1 || value.intValue() > MAX_SIZE) {
            violations.add(field + " " + value + " is no whole number in [1, " + MAX_SIZE + "]");
            return absent;
        }
        return value.intValue();
    }

    /** @throws CheckpointException listing all tensors that are missing, unknown or of another shape */
    public static WeightSource weights(HuggingFaceModel model, GptConfig config) {
        List<String> violations = new ArrayList<>();
        Map<String, String> tensors = new HashMap<>();
        for (String name : model.names()) {
            String parameter = name.startsWith(PREFIX) ? name.substring(PREFIX.length()) : name;
            String other = BUFFER.matcher(parameter).matches() ? null : tensors.put(parameter, name);
            require(violations, other == null, "holds both " + other + " and " + name);
        }
        String head = config.variants().contains(Variant.UNTIED_HEAD) ? null : tensors.remove(HEAD);
        Map<String, String> names = new HashMap<>();
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
        refuse(model.directory(), violations);
        if (head != null) {
            requireEqual(model, names.get(EMBEDDING), head);
        }
        return (parameter, offset, target) -> model.read(names.get(parameter), offset, target);
    }

    /** A tied head may be stored a second time, but not with other values: one of the two would be lost. */
    private static void requireEqual(HuggingFaceModel model, String embedding, String head) {
        List<Long> shape = model.shape(embedding);
        boolean equal = model.shape(head).equals(shape);
        long numElements = shape.stream().reduce(1L, Math::multiplyExact);
        FloatBuffer a = FloatBuffer.allocate(CHUNK);
        FloatBuffer b = FloatBuffer.allocate(CHUNK);
        for (long offset = 0; equal && offset < numElements; offset += CHUNK) {
            int count = (int) Math.min(CHUNK, numElements - offset);
            model.read(embedding, offset, a.clear().limit(count));
            model.read(head, offset, b.clear().limit(count));
            equal = a.flip().equals(b.flip());
        }
        if (!equal) {
            throw new CheckpointException(
                    model.directory(),
                    head + " differs from " + embedding
                            + ", but tie_word_embeddings is true: set it to false in config.json"
                            + " to have a head of its own, or leave " + head + " out");
        }
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
