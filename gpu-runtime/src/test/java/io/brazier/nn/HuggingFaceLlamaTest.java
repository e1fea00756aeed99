package io.brazier.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.HuggingFaceModel;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.LocalStorage;
import io.brazier.checkpoint.SafetensorsWriter;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.program.RotaryScaling;
import io.brazier.program.RotaryScaling.Linear;
import io.brazier.program.RotaryScaling.Llama3;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** What a file of somebody else may say; that the numbers are right is for the parity tests. */
class HuggingFaceLlamaTest {
    private static final LlamaConfig CONFIG = config(RotaryScaling.NONE, Experts.NONE);

    @TempDir
    Path directory;

    private int numModels;

    private static LlamaConfig config(RotaryScaling scaling, Experts experts) {
        return new LlamaConfig(11, 7, 2, 4, 2, 6, 8, 10, 1e-5, 300, scaling, false, experts);
    }

    private static ObjectNode json(LlamaConfig config) {
        return (ObjectNode) HuggingFace.configJson(config, 0, OptionalInt.empty());
    }

    private static List<SafetensorsWriter.Tensor> tensors(LlamaConfig config) {
        return new ArrayList<>(HuggingFace.tensors(config, new InitialWeights(new Llama(config).parameters(), 1)));
    }

    private HuggingFaceModel model(JsonNode config, List<SafetensorsWriter.Tensor> tensors) throws IOException {
        String path = directory.resolve("model" + numModels++).toString();
        HuggingFaceModel.write(new LocalStorage(), path, config, tensors, Map.of());
        return HuggingFaceModel.open(new LocalStorage(), path);
    }

    private String refusal(JsonNode config) throws IOException {
        HuggingFaceModel model = model(config, tensors(CONFIG));
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> HuggingFace.weights(model, HuggingFace.config(model)));
        assertTrue(e.getMessage().startsWith(model.directory()), e.getMessage());
        return e.getMessage();
    }

    @Test
    void theConfigComesBack() throws IOException {
        for (RotaryScaling scaling : List.of(RotaryScaling.NONE, new Linear(2.5), new Llama3(8, 1, 4, 5))) {
            LlamaConfig config = config(scaling, Experts.NONE);
            assertEquals(config, HuggingFace.config(model(json(config), tensors(config))));
        }
        LlamaConfig mixtral = config(RotaryScaling.NONE, new Experts(4, 2, 0, 0.01));
        assertEquals(mixtral, HuggingFace.config(model(json(mixtral), tensors(CONFIG))));
    }

    /** As transformers' LlamaConfig, MistralConfig and MixtralConfig have them. */
    @Test
    void absentFieldsHaveTheirDefaults() throws IOException {
        ObjectNode config = Json.mapper().createObjectNode().put("num_hidden_layers", 2);
        assertEquals(
                new LlamaConfig(
                        32000, 2048, 2, 32, 32, 128, 4096, 11008, 1e-6, 1e4, RotaryScaling.NONE, false, Experts.NONE),
                HuggingFace.config(model(config.put("model_type", "llama"), tensors(CONFIG))));
        config.put("num_local_experts", 3).put("model_type", "mixtral");
        assertEquals(
                new LlamaConfig(
                        32000,
                        131072,
                        2,
                        32,
                        8,
                        128,
                        4096,
                        14336,
                        1e-5,
                        1e6,
                        RotaryScaling.NONE,
                        false,
                        new Experts(3, 2, 0, 0)),
                HuggingFace.config(model(config, tensors(CONFIG))));
        String message = refusal(config.put("model_type", "mistral"));
        assertTrue(message.contains("sliding_window 4096 is below max_position_embeddings 131072"), message);
        config.putNull("sliding_window").putNull("num_key_value_heads").putNull("head_dim");
        LlamaConfig mistral = (LlamaConfig) HuggingFace.config(model(config, tensors(CONFIG)));
        assertEquals(32, mistral.numKeyValueHeads());
        assertEquals(1e-6, mistral.rmsNormEpsilon());
    }

    @Test
    void oldAndNewSpellingOfScaledPositions() throws IOException {
        ObjectNode old = json(CONFIG).put("rope_theta", 700);
        old.putObject("rope_scaling").put("type", "linear").put("factor", 4);
        ObjectNode fresh = json(CONFIG);
        fresh.remove(List.of("rope_theta", "rope_scaling"));
        fresh.putObject("rope_parameters")
                .put("rope_type", "linear")
                .put("factor", 4)
                .put("rope_theta", 700);
        for (ObjectNode json : List.of(old, fresh)) {
            LlamaConfig config = (LlamaConfig) HuggingFace.config(model(json, tensors(CONFIG)));
            assertEquals(new Linear(4), config.ropeScaling());
            assertEquals(700, config.ropeTheta());
        }
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "hidden_act | \"gelu\" | hidden_act gelu is not silu",
                "attention_bias | true | attention_bias is true",
                "mlp_bias | true | mlp_bias is true",
                "mlp_bias | 1 | neither true nor false",
                "sliding_window | 4 | sliding_window 4 is below max_position_embeddings 7",
                "head_dim | 5 | headWidth 5 must be even",
                "num_key_value_heads | 3 | must be a multiple",
                "num_hidden_layers | 1000 | but the files hold",
                "num_hidden_layers | 1 | which Llama does not have",
                "rms_norm_eps | 0 | must be positive",
                "rope_theta | \"x\" | is no number",
                "partial_rotary_factor | 0.5 | partial_rotary_factor is not 1",
                "rope_scaling | {\"rope_type\": \"yarn\", \"factor\": 2} | rope_type yarn is none of",
                "rope_scaling | {\"rope_type\": \"linear\"} | rope_scaling.factor is missing",
                "rope_scaling | {\"type\": \"linear\", \"factor\": 0.5} | must be at least 1",
                "rope_scaling | 3 | rope_scaling 3 is no object",
                "rope_parameters | {\"partial_rotary_factor\": 0.25} | rope_parameters.partial_rotary_factor is not 1",
                "model_type | \"qwen2\" | is none of [gpt2, llama, mistral, mixtral]",
            })
    void aConfigThatCannotBe(String field, String value, String reason) throws IOException {
        String message = refusal(json(CONFIG).set(field, Json.mapper().readTree(value)));
        assertTrue(message.contains(reason), message);
    }

    @Test
    void everyUnsupportedSettingIsNamedAtOnce() throws IOException {
        ObjectNode config = json(config(RotaryScaling.NONE, new Experts(2, 1, 0, 0)));
        config.put("hidden_act", "relu").put("attention_bias", true).put("sliding_window", 3);
        config.put("router_jitter_noise", 0.1).put("num_experts_per_tok", 3);
        String message = refusal(config);
        for (String part :
                List.of("hidden_act", "attention_bias", "sliding_window", "router_jitter_noise", "perToken 3")) {
            assertTrue(message.contains(part), message);
        }
    }

    /** Any range of a fused projection is the ranges of its parts. */
    @Test
    void aRangeMayCrossParts() throws IOException {
        WeightSource weights = HuggingFace.weights(model(json(CONFIG), tensors(CONFIG)), CONFIG);
        WeightSource initial = new InitialWeights(new Llama(CONFIG).parameters(), 1);
        String name = "model.layers.1.self_attn.qkv_proj.weight";
        int numElements = (4 + 2 * 2) * 6 * 8;
        for (int offset = 0; offset < numElements; offset += 37) {
            for (int count : new int[] {1, 100, numElements - offset}) {
                FloatBuffer expected = FloatBuffer.allocate(Math.min(count, numElements - offset));
                FloatBuffer actual = FloatBuffer.allocate(expected.capacity());
                initial.read(name, offset, expected);
                weights.read(name, offset, actual);
                assertEquals(expected.flip(), actual.flip());
            }
        }
        assertThrows(
                IndexOutOfBoundsException.class, () -> weights.read(name, numElements - 3, FloatBuffer.allocate(4)));
    }

    @Test
    void frequenciesOfOldFilesAreIgnored() throws IOException {
        List<SafetensorsWriter.Tensor> tensors = tensors(CONFIG);
        tensors.add(new SafetensorsWriter.Tensor(
                "model.layers.0.self_attn.rotary_emb.inv_freq", List.of(1L), (offset, target) -> target.put(1)));
        HuggingFace.weights(model(json(CONFIG), tensors), CONFIG);
    }
}
