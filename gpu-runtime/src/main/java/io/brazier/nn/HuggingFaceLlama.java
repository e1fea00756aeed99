package io.brazier.nn;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.Json;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.TensorLayout.Part;
import io.brazier.program.RotaryScaling;
import io.brazier.program.RotaryScaling.Linear;
import io.brazier.program.RotaryScaling.Llama3;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.Set;
import java.util.regex.Pattern;

/**
 * Llama, Mistral and Mixtral in Hugging Face's files. They differ in defaults; Mistral without a sliding window is Llama, and is
 * written as such. Mixtral's experts are {@code block_sparse_moe.experts.E.w1, w3, w2}.
 */
final class HuggingFaceLlama {
    static final Set<String> TYPES = Set.of("llama", "mistral", "mixtral");

    private static final String PREFIX = "model.";

    /** Frequencies that old files carry along. */
    private static final Pattern BUFFER = Pattern.compile("layers\\.\\d+\\.self_attn\\.rotary_emb\\.inv_freq");

    private HuggingFaceLlama() {}

    /** @throws CheckpointException naming all that the files ask for and that is not computed here */
    static LlamaConfig config(HuggingFaceModel model) {
        ConfigReader c = new ConfigReader(model);
        String type = model.config().path("model_type").asText();
        boolean plain = type.equals("llama");
        boolean mixtral = type.equals("mixtral");
        int width = c.size("hidden_size", 4096);
        int numHeads = c.size("num_attention_heads", 32);
        int keyValueHeads = plain || c.isNull("num_key_value_heads") ? numHeads : 8;
        int numKeyValueHeads = c.has("num_key_value_heads") ? c.size("num_key_value_heads", 1) : keyValueHeads;
        c.require(
                c.has("head_dim") || width % numHeads == 0,
                "hidden_size " + width + " is no multiple of num_attention_heads " + numHeads);
        int headWidth = c.has("head_dim") ? c.size("head_dim", 1) : width / numHeads;
        int maxPositions = c.size("max_position_embeddings", plain ? 2048 : 131072);
        requireComputed(c, type, maxPositions);
        int numLayers = c.size("num_hidden_layers", 32);
        Experts experts = mixtral ? experts(c) : Experts.NONE;
        c.requireTensors(
                mixtral ? "num_hidden_layers * num_local_experts" : "num_hidden_layers",
                (long) numLayers * Math.max(1, experts.count()));
        int vocabularySize = c.size("vocab_size", 32000);
        int hiddenWidth = c.size("intermediate_size", plain ? 11008 : 14336);
        double epsilon = c.number("rms_norm_eps", mixtral ? 1e-5 : 1e-6);
        String field = c.has("rope_scaling") ? "rope_scaling" : "rope_parameters";
        double theta = c.number("rope_theta", mixtral ? 1e6 : 1e4);
        ConfigReader rope = c.under(field);
        double ropeTheta = rope.number("rope_theta", theta);
        RotaryScaling scaling = scaling(rope, field, maxPositions);
        boolean tied = c.flag("tie_word_embeddings", false);
        return c.make(() -> new LlamaConfig(
                vocabularySize,
                maxPositions,
                numLayers,
                numHeads,
                numKeyValueHeads,
                headWidth,
                width,
                hiddenWidth,
                epsilon,
                ropeTheta,
                scaling,
                tied,
                experts));
    }

    private static void requireComputed(ConfigReader c, String type, int maxPositions) {
        String activation = c.text("hidden_act", "silu");
        c.require(activation.equals("silu") || activation.equals("swish"), "hidden_act " + activation + " is not silu");
        for (String bias : List.of("attention_bias", "mlp_bias")) {
            c.require(!c.flag(bias, false), bias + " is true");
        }
        c.require(c.number("partial_rotary_factor", 1) == 1, "partial_rotary_factor is not 1");
        // Mistral alone has a window by default; one as long as the sequence hides nothing.
        boolean windowed = c.has("sliding_window") || type.equals("mistral");
        int window = windowed && !c.isNull("sliding_window") ? c.size("sliding_window", 4096) : maxPositions;
        c.require(
                window >= maxPositions,
                "sliding_window " + window + " is below max_position_embeddings " + maxPositions
                        + ": attention is over all positions here");
    }

    /** What HuggingFace calls router_aux_loss_coef counts with output_router_logits alone; no token is ever dropped. */
    private static Experts experts(ConfigReader c) {
        c.require(c.number("router_jitter_noise", 0) == 0, "router_jitter_noise is not 0");
        double balance = c.number("router_aux_loss_coef", 0.001);
        boolean balanced = c.flag("output_router_logits", false);
        int count = c.size("num_local_experts", 8);
        int perToken = c.size("num_experts_per_tok", 2);
        try {
            return new Experts(count, perToken, 0, balanced ? balance : 0);
        } catch (IllegalArgumentException e) {
            c.require(false, e.getMessage());
            return Experts.NONE;
        }
    }

    private static RotaryScaling scaling(ConfigReader rope, String field, int maxPositions) {
        String type = rope.text("rope_type", rope.text("type", "default"));
        rope.require(rope.number("partial_rotary_factor", 1) == 1, field + ".partial_rotary_factor is not 1");
        try {
            switch (type) {
                case "default" -> {
                    return RotaryScaling.NONE;
                }
                case "linear" -> {
                    return new Linear(rope.number("factor"));
                }
                case "llama3" -> {
                    return new Llama3(
                            rope.number("factor"),
                            rope.number("low_freq_factor"),
                            rope.number("high_freq_factor"),
                            rope.size("original_max_position_embeddings", maxPositions));
                }
                default -> rope.require(false, field + ".rope_type " + type + " is none of [default, linear, llama3]");
            }
        } catch (IllegalArgumentException e) {
            rope.require(false, field + ": " + e.getMessage());
        }
        return RotaryScaling.NONE;
    }

    static TensorLayout layout(LlamaConfig config) {
        Map<String, List<Part>> parts = new LinkedHashMap<>();
        for (ParameterSpec spec : new Llama(config).parameters()) {
            parts.put(spec.name(), parts(config, spec));
        }
        String family = config.numExperts() > 0 ? "Mixtral" : "Llama";
        return new TensorLayout(family, PREFIX, BUFFER, config.tiedHead() ? "embed_tokens.weight" : "", parts);
    }

    private static List<Part> parts(LlamaConfig config, ParameterSpec spec) {
        String name = spec.name();
        String module = name.substring(0, name.lastIndexOf('.', name.lastIndexOf('.') - 1) + 1);
        long d = config.width();
        long f = config.hiddenWidth();
        List<Part> parts = new ArrayList<>();
        if (name.endsWith(".qkv_proj.weight")) {
            long keys = (long) config.numKeyValueHeads() * config.headWidth();
            long queries = (long) config.numHeads() * config.headWidth();
            parts.add(new Part(module + "q_proj.weight", List.of(queries, d)));
            parts.add(new Part(module + "k_proj.weight", List.of(keys, d)));
            parts.add(new Part(module + "v_proj.weight", List.of(keys, d)));
        } else if (name.endsWith(".mlp.gate_up_proj.weight")) {
            parts.add(new Part(module + "gate_proj.weight", List.of(f, d)));
            parts.add(new Part(module + "up_proj.weight", List.of(f, d)));
        } else if (name.endsWith(".experts.gate_up_proj.weight")) {
            for (int e = 0; e < config.numExperts(); e++) {
                parts.add(new Part(module + e + ".w1.weight", List.of(f, d)));
                parts.add(new Part(module + e + ".w3.weight", List.of(f, d)));
            }
        } else if (name.endsWith(".experts.down_proj.weight")) {
            for (int e = 0; e < config.numExperts(); e++) {
                parts.add(new Part(module + e + ".w2.weight", List.of(d, f)));
            }
        } else {
            parts.add(new Part(name, spec.shape().dims()));
        }
        return parts;
    }

    static JsonNode configJson(LlamaConfig config, OptionalInt endOfText) {
        boolean mixtral = config.numExperts() > 0;
        ObjectNode c = Json.mapper().createObjectNode();
        c.putArray("architectures").add(mixtral ? "MixtralForCausalLM" : "LlamaForCausalLM");
        c.put("model_type", mixtral ? "mixtral" : "llama").put("hidden_act", "silu");
        c.put("vocab_size", config.vocabularySize()).put("max_position_embeddings", config.maxPositions());
        c.put("num_hidden_layers", config.numLayers()).put("hidden_size", config.width());
        c.put("num_attention_heads", config.numHeads()).put("num_key_value_heads", config.numKeyValueHeads());
        c.put("head_dim", config.headWidth()).put("intermediate_size", config.hiddenWidth());
        c.put("rms_norm_eps", config.rmsNormEpsilon()).put("rope_theta", config.ropeTheta());
        c.set("rope_scaling", scalingJson(config.ropeScaling()));
        c.put("tie_word_embeddings", config.tiedHead()).put("attention_dropout", 0.0);
        if (mixtral) {
            c.putNull("sliding_window").put("router_jitter_noise", 0.0);
            c.put("num_local_experts", config.numExperts());
            c.put("num_experts_per_tok", config.experts().perToken());
            c.put("router_aux_loss_coef", config.experts().balanceCoefficient());
            c.put("output_router_logits", config.experts().balanceCoefficient() > 0);
        } else {
            c.put("attention_bias", false).put("mlp_bias", false);
        }
        c.put("torch_dtype", "float32");
        return HuggingFace.withEndOfText(c, endOfText);
    }

    private static JsonNode scalingJson(RotaryScaling scaling) {
        ObjectNode rope = Json.mapper().createObjectNode();
        if (scaling instanceof Linear linear) {
            return rope.put("rope_type", "linear").put("factor", linear.factor());
        }
        if (scaling instanceof Llama3 llama3) {
            rope.put("rope_type", "llama3").put("factor", llama3.factor());
            rope.put("low_freq_factor", llama3.lowFrequencyFactor());
            rope.put("high_freq_factor", llama3.highFrequencyFactor());
            return rope.put("original_max_position_embeddings", llama3.originalMaxPositions());
        }
        return rope.nullNode();
    }
}
