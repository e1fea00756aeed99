package io.brazier.text;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.checkpoint.CheckpointException;
import io.brazier.checkpoint.Json;
import io.brazier.checkpoint.Storage;
import java.io.IOException;
import java.io.InputStream;
import java.util.Map;

/** The kinds of tokenizers. */
public final class Tokenizers {
    static final String HUGGING_FACE_FILE = "tokenizer.json";
    static final String CONFIG_FILE = "tokenizer_config.json";
    static final String KIND_FILE = "brazier_tokenizer.json";

    /** Largest tokenizer.json that is read. */
    private static final long MAX_FILE_BYTES = 64L << 20;

    private Tokenizers() {}

    /** UTF-8 bytes; V = 256. */
    public static Tokenizer bytes() {
        return new ByteTokenizer();
    }

    /**
     * One token for each code point of a text, in the order of code points.
     *
     * @param text holds every character at least once
     */
    public static Tokenizer characters(String text) {
        return new CharacterTokenizer(text.codePoints().distinct().sorted().toArray());
    }

    /** GPT-2's byte-pair encoding; V = 50,257. */
    public static Tokenizer gpt2() {
        return new Gpt2Tokenizer();
    }

    /** What a tokenizer.json describes. */
    public static Tokenizer huggingFace(String name, byte[] json) {
        return new HuggingFaceFileTokenizer(name, json);
    }

    /** The tokenizer of a model directory: the one that Brazier saved, or a tokenizer.json of anybody's. */
    public static Tokenizer load(Storage storage, String directory) {
        String kindFile = directory + "/" + KIND_FILE;
        String jsonFile = directory + "/" + HUGGING_FACE_FILE;
        try {
            if (storage.exists(kindFile)) {
                return ofKind(kindFile, Json.read(storage, kindFile));
            }
            if (storage.exists(jsonFile)) {
                return huggingFace(jsonFile, read(storage, jsonFile));
            }
        } catch (IOException e) {
            throw new CheckpointException(directory, "cannot be read: " + e, e);
        }
        throw new CheckpointException(
                directory, "holds no tokenizer: neither " + KIND_FILE + " nor " + HUGGING_FACE_FILE);
    }

    private static Tokenizer ofKind(String path, JsonNode kind) {
        return switch (kind.path("kind").asText()) {
            case "bytes" -> bytes();
            case "characters" -> characters(kind.path("characters").asText());
            case "gpt2" -> gpt2();
            default -> throw new CheckpointException(path, "names the unknown kind " + kind.path("kind"));
        };
    }

    /** The bytes of a tokenizer.json. */
    public static byte[] read(Storage storage, String path) throws IOException {
        long size = storage.size(path);
        if (size > MAX_FILE_BYTES) {
            throw new CheckpointException(path, "has " + size + " bytes, more than " + MAX_FILE_BYTES);
        }
        try (InputStream in = storage.openAt(path, 0)) {
            return in.readNBytes((int) size);
        }
    }

    static ObjectNode kind(String kind) {
        return Json.mapper().createObjectNode().put("kind", kind);
    }

    /** What makes transformers take a tokenizer.json as it is; by config.json alone it would take every one for GPT-2's. */
    static ObjectNode config() {
        return Json.mapper().createObjectNode().put("tokenizer_class", "PreTrainedTokenizerFast");
    }

    static Map<String, byte[]> files(ObjectNode kind, ObjectNode huggingFace, ObjectNode config) {
        return Map.of(
                KIND_FILE, Json.bytes(kind),
                HUGGING_FACE_FILE, Json.bytes(huggingFace),
                CONFIG_FILE, Json.bytes(config));
    }

    static IllegalArgumentException outside(String tokenizer, int token, int vocabularySize) {
        return new IllegalArgumentException(
                "token " + token + " is outside [0, " + vocabularySize + ") of the tokenizer " + tokenizer);
    }
}
