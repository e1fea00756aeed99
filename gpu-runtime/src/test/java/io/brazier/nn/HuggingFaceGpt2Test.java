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
import org.junit.jupiter.params.provider.ValueSource;

/** What a file of somebody else may say; that the numbers are right is for the parity tests. */
class HuggingFaceGpt2Test {
    private static final GptConfig CONFIG = GptConfig.of(11, 7, 2, 2, 4);

    @TempDir
    Path directory;

    private int numModels;

    private static ObjectNode configJson() {
        return (ObjectNode) HuggingFace.configJson(CONFIG, 0, OptionalInt.empty());
    }

    private static List<SafetensorsWriter.Tensor> tensors() {
        return new ArrayList<>(HuggingFace.tensors(CONFIG, new InitialWeights(new Gpt(CONFIG).parameters(), 1)));
    }

    private static SafetensorsWriter.Tensor constant(String name, float value, Long... shape) {
        return new SafetensorsWriter.Tensor(name, List.of(shape), (offset, target) -> {
            while (target.hasRemaining()) {
                target.put(value);
            }
        });
    }

    private HuggingFaceModel model(JsonNode config, List<SafetensorsWriter.Tensor> tensors) throws IOException {
        String path = directory.resolve("model" + numModels++).toString();
        HuggingFaceModel.write(new LocalStorage(), path, config, tensors, Map.of());
        return HuggingFaceModel.open(new LocalStorage(), path);
    }

    private String refusal(JsonNode config, List<SafetensorsWriter.Tensor> tensors) throws IOException {
        HuggingFaceModel model = model(config, tensors);
        CheckpointException e =
                assertThrows(CheckpointException.class, () -> HuggingFace.weights(model, HuggingFace.config(model)));
        assertTrue(e.getMessage().startsWith(model.directory()), e.getMessage());
        return e.getMessage();
    }

    @Test
    void theConfigComesBack() throws IOException {
        assertEquals(CONFIG, HuggingFace.config(model(configJson(), tensors())));
    }

    /** As transformers' GPT2Config has them. */
    @Test
    void absentFieldsHaveTheirDefaults() throws IOException {
        ObjectNode config =
                Json.mapper().createObjectNode().put("model_type", "gpt2").put("n_layer", 2);
        assertEquals(new GptConfig(50257, 1024, 2, 12, 768, 3072, 1e-5), HuggingFace.config(model(config, tensors())));
        config.putNull("n_inner").put("n_embd", 24);
        assertEquals(96, HuggingFace.config(model(config, tensors())).hiddenWidth());
    }

    @ParameterizedTest
    @CsvSource(
            delimiter = '|',
            value = {
                "model_type | \"llama\"",
                "model_type | \"bert\"",
                "activation_function | \"quick_gelu\"",
                "add_cross_attention | true",
                "add_cross_attention | \"yes\"",
                "tie_word_embeddings | 0",
                "scale_attn_weights | null",
                "n_layer | 0",
                "n_layer | -1",
                "n_layer | 2147483647",
                "n_layer | 1000",
                "n_layer | \"2\"",
                "n_layer | null",
                "n_head | 3",
                "n_embd | 2147483648",
                "n_embd | 1e3",
                "n_embd | 1000000000",
                "n_embd | 123456789012345678901234567890",
                "n_embd | {}",
                "n_inner | \"16\"",
                "n_inner | 0",
                "n_positions | 2.5",
                "vocab_size | []",
                "vocab_size | 2147483647",
                "layer_norm_epsilon | 0",
                "layer_norm_epsilon | -1e-5",
                "layer_norm_epsilon | \"1e-5\""
            })
    void aConfigThatCannotBe(String field, String value) throws IOException {
        ObjectNode config = configJson();
        config.set(field, Json.mapper().readTree(value));
        refusal(config, tensors());
    }

    @Test
    void everyViolationIsListed() throws IOException {
        List<SafetensorsWriter.Tensor> tensors = tensors();
        tensors.removeIf(t -> t.name().equals("transformer.h.1.ln_1.bias"));
        tensors.replaceAll(t -> t.name().endsWith("wpe.weight") ? constant(t.name(), 1, 4L, 7L) : t);
        tensors.add(constant("transformer.h.2.ln_1.bias", 1, 4L));
        tensors.add(constant("wte.weight", 1, 11L, 4L));
        String message = refusal(configJson(), tensors);
        for (String part : List.of(
                "has no h.1.ln_1.bias",
                "transformer.wpe.weight has shape [4, 7]",
                "holds transformer.h.2.ln_1.bias, which GPT-2 does not have",
                "holds both")) {
            assertTrue(message.contains(part), message);
        }
    }

    @ParameterizedTest
    @ValueSource(strings = {"n_layer", "n_embd", "vocab_size", "n_positions", "n_inner"})
    void sizesMustFitTheTensors(String field) throws IOException {
        ObjectNode config = configJson();
        config.put(field, 2 * config.path(field).asInt());
        refusal(config, tensors());
    }

    @Test
    void masksOfOldFilesAreIgnored() throws IOException {
        List<SafetensorsWriter.Tensor> tensors = tensors();
        tensors.add(constant("transformer.h.0.attn.bias", 1, 1L, 1L, 7L, 7L));
        tensors.add(constant("transformer.h.1.attn.masked_bias", 1));
        HuggingFaceModel model = model(configJson(), tensors);
        HuggingFace.weights(model, CONFIG).read("h.0.attn.c_attn.bias", 0, FloatBuffer.allocate(12));
    }

    @Test
    void aTiedHeadMayBeStoredTwiceButNotDiffer() throws IOException {
        List<SafetensorsWriter.Tensor> tensors = tensors();
        tensors.replaceAll(t -> t.name().endsWith("wte.weight") ? constant(t.name(), 3, 11L, 4L) : t);
        tensors.add(constant("lm_head.weight", 3, 11L, 4L));
        HuggingFace.weights(model(configJson(), tensors), CONFIG);
        for (Long[] shape : new Long[][] {{11L, 4L}, {4L, 11L}}) {
            tensors.set(tensors.size() - 1, constant("lm_head.weight", shape[0] == 4L ? 3 : 4, shape));
            String message = refusal(configJson(), tensors);
            assertTrue(message.contains("lm_head.weight differs from transformer.wte.weight"), message);
        }
    }
}
