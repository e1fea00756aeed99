package io.brazier.checkpoint;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.SerializationFeature;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.InputStreamReader;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.CharsetDecoder;
import java.nio.charset.StandardCharsets;

/** Strict JSON of files that may be hostile: bounded depth, numbers and names, no duplicate keys, nothing behind the end. */
public final class Json {
    private static final int MAX_DEPTH = 64;
    private static final int MAX_NUMBER_LENGTH = 40;

    /** Bounds the heap that a tree can claim; safetensors headers are larger and streamed. */
    private static final int MAX_FILE_BYTES = 16 << 20;

    private static final int MAX_STRING_LENGTH = 1 << 20;

    /** Names of hostile files are neither interned nor kept in a table that they could make slow. */
    private static final JsonFactory FACTORY = JsonFactory.builder()
            .streamReadConstraints(StreamReadConstraints.builder()
                    .maxNestingDepth(MAX_DEPTH)
                    .maxNumberLength(MAX_NUMBER_LENGTH)
                    .maxStringLength(MAX_STRING_LENGTH)
                    .build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .disable(JsonFactory.Feature.CANONICALIZE_FIELD_NAMES)
            .disable(JsonFactory.Feature.INTERN_FIELD_NAMES)
            .build();

    private static final ObjectMapper MAPPER = JsonMapper.builder(FACTORY)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .enable(SerializationFeature.INDENT_OUTPUT)
            .build();

    private Json() {}

    /** For building trees. */
    public static ObjectMapper mapper() {
        return MAPPER;
    }

    /** Takes the tokens of one JSON text. */
    interface Visitor {
        void visit(JsonParser parser) throws IOException;
    }

    /** Shows the tokens of bytes that must be one JSON text in UTF-8; nothing but blanks may follow what the visitor takes. */
    static void stream(String path, byte[] bytes, Visitor visitor) {
        CharsetDecoder strict = StandardCharsets.UTF_8.newDecoder();
        try (JsonParser parser = FACTORY.createParser(new InputStreamReader(new ByteArrayInputStream(bytes), strict))) {
            visitor.visit(parser);
            if (parser.nextToken() != null) {
                throw new CheckpointException(path, "goes on behind the end of its JSON");
            }
        } catch (CharacterCodingException e) {
            throw new CheckpointException(path, "is not UTF-8", e);
        } catch (JsonProcessingException e) {
            throw new CheckpointException(path, "is no valid JSON: " + e.getOriginalMessage(), e);
        } catch (IOException e) {
            throw new AssertionError(e);
        }
    }

    /** Parses bytes that must be one JSON object in UTF-8. */
    public static JsonNode parse(String path, byte[] bytes) {
        JsonNode[] node = new JsonNode[1];
        stream(path, bytes, parser -> node[0] = MAPPER.readTree(parser));
        if (node[0] == null || !node[0].isObject()) {
            throw new CheckpointException(path, "is no JSON object");
        }
        return node[0];
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
