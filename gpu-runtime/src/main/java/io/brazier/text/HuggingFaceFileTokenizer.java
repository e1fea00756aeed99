package io.brazier.text;

import ai.djl.huggingface.tokenizers.HuggingFaceTokenizer;
import com.fasterxml.jackson.databind.JsonNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.LocalStorage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.OptionalInt;
import java.util.stream.Stream;

/** Any tokenizer.json, by Hugging Face's own library through DJL. */
final class HuggingFaceFileTokenizer implements Tokenizer {
    /** Ids above this belong to no model; they would only make arrays of their size. */
    private static final long MAX_VOCABULARY_SIZE = 1 << 24;

    /** Training and scoring need the whole text; the library's own default keeps 512 tokens. */
    private static final Map<String, String> WHOLE_TEXT =
            Map.of("truncation", "false", "padding", "false", "addSpecialTokens", "false");

    private static final List<String> END_OF_TEXT = List.of("<|endoftext|>", "<|end_of_text|>", "</s>", "<eos>");

    private static final String CACHE = "DJL_CACHE_DIR";

    static {
        // DJL reports its use to a server unless told otherwise, and looks for models on the network.
        System.setProperty("OPT_OUT_TRACKING", "true");
        System.setProperty("ai.djl.offline", "true");
        unpackPrivately();
    }

    /**
     * DJL unpacks its native library below the user's home. In a container that often cannot be written, and DJL's next choice is a
     * fixed name in the system's temporary directory, where any other user could have put a library before.
     */
    private static void unpackPrivately() {
        boolean chosen = Stream.of(CACHE, "ENGINE_CACHE_DIR")
                .anyMatch(name -> System.getenv(name) != null || System.getProperty(name) != null);
        if (chosen || Files.isWritable(Path.of(System.getProperty("user.home")))) {
            return;
        }
        try {
            String directory = Files.createTempDirectory("brazier-tokenizers").toString();
            System.setProperty(CACHE, directory);
            Runtime.getRuntime().addShutdownHook(new Thread(() -> {
                try {
                    new LocalStorage().delete(directory);
                } catch (IOException e) {
                    System.err.println(directory + " could not be removed: " + e);
                }
            }));
        } catch (IOException e) {
            throw new UncheckedIOException("no directory for the tokenizers' native library: set " + CACHE, e);
        }
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
            this.tokenizer = HuggingFaceTokenizer.newInstance(new ByteArrayInputStream(json), WHOLE_TEXT);
        } catch (IOException | RuntimeException e) {
            throw new CheckpointException(
                    name, "is no tokenizer that Hugging Face's library reads: " + e.getMessage(), e);
        }
        this.vocabularySize = vocabularySize(name, tree);
        this.endOfTextId = endOfTextId(tree);
    }

    private static int vocabularySize(String name, JsonNode tree) {
        JsonNode vocabulary = tree.path("model").path("vocab");
        long largest = vocabulary.isArray() ? vocabulary.size() - 1 : -1;
        if (vocabulary.isObject()) {
            for (JsonNode id : vocabulary) {
                largest = Math.max(largest, id.asLong(-1));
            }
        }
        for (JsonNode added : tree.path("added_tokens")) {
            largest = Math.max(largest, added.path("id").asLong(-1));
        }
        if (largest < 0 || largest >= MAX_VOCABULARY_SIZE) {
            throw new CheckpointException(
                    name,
                    largest < 0
                            ? "has no vocabulary"
                            : "has a token id " + largest + ", allowed are ids below " + MAX_VOCABULARY_SIZE);
        }
        return (int) largest + 1;
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
        try {
            return Arrays.stream(tokenizer.encode(text, false, false).getIds())
                    .mapToInt(Math::toIntExact)
                    .toArray();
        } catch (RuntimeException e) {
            throw new IllegalArgumentException("the tokenizer " + name + " cannot encode a text: " + e.getMessage(), e);
        }
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
        return Map.of(
                Tokenizers.HUGGING_FACE_FILE, json.clone(),
                Tokenizers.CONFIG_FILE, Json.bytes(Tokenizers.config()));
    }
}
