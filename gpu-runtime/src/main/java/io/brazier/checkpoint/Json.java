package io.brazier.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.JsonToken;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;

/** Strict JSON of files that may be hostile: bounded depth, numbers and names, no duplicate keys, nothing behind the end. */
public final class Json {
    private static final int MAX_DEPTH = 64;
    private static final int MAX_NUMBER_LENGTH = 40;

    /** Small files only; safetensors headers have a limit of their own. */
    private static final int MAX_FILE_BYTES = 256 << 20;

    private static final ObjectMapper MAPPER = JsonMapper.builder(JsonFactory.builder()
                    .streamReadConstraints(StreamReadConstraints.builder()
                            .maxNestingDepth(MAX_DEPTH)
                            .maxNumberLength(MAX_NUMBER_LENGTH)
                            .maxStringLength(1 << 20)
                            .build())
                    .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
                    .build())
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(SerializationFeature.INDENT_OUTPUT)
            .build();

    private Json() {}

    /** For building trees. */
    public static ObjectMapper mapper() {
        return MAPPER;
    }

    /** Parses bytes that must be one JSON object in UTF-8. */
    public static JsonNode parse(String path, byte[] bytes) {
        try {
            String text = StandardCharsets.UTF_8
                    .newDecoder()
                    .decode(ByteBuffer.wrap(bytes))
                    .toString();
            JsonNode node = MAPPER.readTree(text);
            if (node == null || !node.isObject()) {
                throw new CheckpointException(path, "is no JSON object");
            }
            return node;
        } catch (CharacterCodingException e) {
            throw new CheckpointException(path, "is not UTF-8", e);
        } catch (JsonProcessingException e) {
            throw new CheckpointException(path, "is no valid JSON: " + e.getOriginalMessage(), e);
        }
    }

    /** Reads an object's fields as they come. */
    interface FieldReader {
        /** The parser stands on the object's opening brace and must be left on its closing one. */
        void read(JsonParser parser) throws IOException;
    }

    /** As {@link #parse}, without building a tree: for objects that may be large. */
    static void stream(String path, byte[] bytes, FieldReader reader) {
        try {
            StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes));
        } catch (CharacterCodingException e) {
            throw new CheckpointException(path, "is not UTF-8", e);
        }
        try (JsonParser parser = MAPPER.getFactory().createParser(bytes)) {
            if (parser.nextToken() != JsonToken.START_OBJECT) {
                throw new CheckpointException(path, "is no JSON object");
            }
            reader.read(parser);
            if (parser.currentToken() != JsonToken.END_OBJECT || parser.nextToken() != null) {
                throw new CheckpointException(path, "is no single JSON object");
            }
        } catch (IOException e) {
            throw new CheckpointException(path, "is no valid JSON: " + e.getMessage(), e);
        }
    }

    /** Reads a file that must be one JSON object. */
    public static JsonNode read(Storage storage, String path) {
        try {
            long size = storage.size(path);
            if (size > MAX_FILE_BYTES) {
                throw new CheckpointException(path, size + " bytes of JSON, more than " + MAX_FILE_BYTES);
            }
            try (InputStream in = storage.openAt(path, 0)) {
                return parse(path, in.readNBytes((int) size));
            }
        } catch (IOException e) {
            throw new CheckpointException(path, "cannot be read: " + e.getMessage(), e);
        }
    }

    /** The tree as indented UTF-8. */
    public static byte[] bytes(JsonNode node) {
        try {
            return MAPPER.writeValueAsBytes(node);
        } catch (JsonProcessingException e) {
            throw new AssertionError(e);
        }
    }
}
