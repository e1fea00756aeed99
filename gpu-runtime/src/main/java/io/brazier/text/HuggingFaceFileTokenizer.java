package io.brazier.text;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.Json;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;

/** Any tokenizer.json, by Hugging Face's own library through DJL. */
final class HuggingFaceFileTokenizer implements Tokenizer {
    private static final List<String> END_OF_TEXT = List.of("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>");

    static {
        // DJL reports its use to a server unless told otherwise, and looks for models on the network.
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("ai.djl.offline", "true");
    }

    private final String name;
    private final byte[] json;
    private final HuggingFaceTokenizer tokenizer;
    private final int vocabularySize;
    private final OptionalInt endOfTextId;

    HuggingFaceFileTokenizer(String name, byte[] json) {
        this.name = name;
        this.json = json.clone();
        JsonNode tree = Json.parse(name, json);
        try {
            this.tokenizer = HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json), Map.of());
        } catch (IOException | RuntimeException e) {
            throw new CheckpointException(
                    name, "is no tokenizer that Hugging Face's library reads: " + e.getMessage(), e);
        }
        this.vocabularySize = vocabularySize(name, tree);
        this.endOfTextId = endOfTextId(tree);
    }

    private static int vocabularySize(String name, JsonNode tree) {
        JsonNode vocabulary = tree.path("model").path("vocab");
        int largest = vocabulary.isArray() ? vocabulary.size() - 1 : -1;
        if (vocabulary.isObject()) {
            for (JsonNode id : vocabulary) {
                largest = Math.max(largest, id.asInt(-1));
            }
        }
        for (JsonNode added : tree.path("added_tokens")) {
            largest = Math.max(largest, added.path("id").asInt(-1));
        }
        if (largest < 0) {
            throw new CheckpointException(name, "has no vocabulary");
        }
        return largest + 1;
    }

    private static OptionalInt endOfTextId(JsonNode tree) {
        for (String content : END_OF_TEXT) {
            for (JsonNode added : tree.path("added_tokens")) {
                if (added.path("content").asText().equals(content)) {
                    return OptionalInt.of(added.path("id").asInt());
                }
            }
        }
        return OptionalInt.empty();
    }

    @Override
    public String name() {
        return name;
    }

    @Override
    public int vocabularySize() {
        return vocabularySize;
    }

    @Override
    public int[] encode(String text) {
        return Arrays.stream(tokenizer.encode(text, false, false).getIds())
                .mapToInt(Math::toIntExact)
                .toArray();
    }

    @Override
    public String decode(int[] tokens) {
        for (int token : tokens) {
            if (token < 0 || token >= vocabularySize) {
                throw Tokenizers.outside(name, token, vocabularySize);
            }
        }
        return tokenizer.decode(Arrays.stream(tokens).asLongStream().toArray(), false);
    }

    @Override
    public OptionalInt endOfTextId() {
        return endOfTextId;
    }

    @Override
    public Map<String, byte[]> files() {
        return Map.of(Tokenizers.HUGGING_FACE_FILE, json.clone());
    }
}
