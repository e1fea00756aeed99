package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.Json;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.TensorLayout.Part;
import io.brazier.program.Elementwise.Function;
import java.util.EnumSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;

/** GPT-2 in Hugging Face's files: names with or without {@code transformer.}. */
final class HuggingFaceGpt2 {
    private static final String PREFIX = "transformer.";

    /** Masks that old files carry along. */
    private static final Pattern BUFFER = Pattern.compile("h\\.\\d+\\.attn\\.(bias|masked_bias)");

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

    /** @throws CheckpointException when the files ask for what is not computed here */
    static GptConfig config(HuggingFaceModel model) {
        ConfigReader c = new ConfigReader(model);
        String activation = c.text("activation_function", "gelu_new");
        c.require(
                ACTIVATIONS.containsKey(activation),
                "activation_function " + activation + " is none of " + ACTIVATIONS.keySet());
        c.require(!c.flag("add_cross_attention", false), "add_cross_attention is true");
        int width = c.size("n_embd", 768);
        int numLayers = c.size("n_layer", 12);
        c.requireTensors("n_layer", numLayers);
        int vocabularySize = c.size("vocab_size", 50257);
        int maxPositions = c.size("n_positions", 1024);
        int numHeads = c.size("n_head", 12);
        boolean usual = c.isNull("n_inner");
        int hiddenWidth = usual ? 4 * width : c.size("n_inner", 4 * width);
        double epsilon = c.number("layer_norm_epsilon", 1e-5);
        Set<Variant> variants = variants(c);
        return c.make(() -> new GptConfig(
                vocabularySize,
                maxPositions,
                numLayers,
                numHeads,
                width,
                hiddenWidth,
                epsilon,
                ACTIVATIONS.get(activation),
                variants));
    }

    private static Set<Variant> variants(ConfigReader c) {
        Set<Variant> variants = EnumSet.noneOf(Variant.class);
        if (!c.flag("tie_word_embeddings", true)) {
            variants.add(Variant.UNTIED_HEAD);
        }
        if (!c.flag("scale_attn_weights", true)) {
            variants.add(Variant.UNSCALED_ATTENTION);
        }
        if (c.flag("scale_attn_by_inverse_layer_idx", false)) {
            variants.add(Variant.ATTENTION_SCALED_BY_LAYER);
        }
        return variants;
    }

    static TensorLayout layout(GptConfig config) {
        Map<String, List<Part>> parts = new LinkedHashMap<>();
        for (ParameterSpec spec : new Gpt(config).parameters()) {
            String name = spec.name().equals(TensorLayout.HEAD) ? spec.name() : PREFIX + spec.name();
            parts.put(spec.name(), List.of(new Part(name, spec.shape().dims())));
        }
        boolean untied = config.variants().contains(Variant.UNTIED_HEAD);
        return new TensorLayout("GPT-2", PREFIX, BUFFER, untied ? "" : "wte.weight", parts);
    }

    static JsonNode configJson(GptConfig config, double dropout, OptionalInt endOfText) {
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
        return HuggingFace.withEndOfText(c, endOfText);
    }

    private static String activationName(Function function) {
        return ACTIVATIONS.entrySet().stream()
                .filter(e -> e.getValue() == function)
                .map(Map.Entry::getKey)
                .findFirst()
                .orElseThrow();
    }
}
