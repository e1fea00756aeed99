package io.brazier.checkpoint;

import com.fasterxml.jackson.core.JsonParser;
import com.fasterxml.jackson.core.JsonToken;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * The header of a safetensors file: 8 bytes length (little endian), then a JSON object of tensors, then their bytes back to back.
 * Checked as strictly as the format allows: tensors cover the file without gap or overlap, sizes agree with shapes.
 *
 * @param headerBytes length field and JSON
 */
record SafetensorsHeader(long headerBytes, Map<String, Tensor> tensors, Map<String, String> metadata) {
    static final int LENGTH_BYTES = 8;
    static final long MAX_JSON_BYTES = 100_000_000;
    private static final String METADATA = "__metadata__";
    private static final int MAX_NAME_LENGTH = 1024;
    private static final int MAX_DIMS = 64;

    /** Element types of the format. */
    enum Type {
        BOOL(1),
        U8(1),
        I8(1),
        F8_E5M2(1),
        F8_E4M3(1),
        I16(2),
        U16(2),
        F16(2),
        BF16(2),
        I32(4),
        U32(4),
        F32(4),
        F64(8),
        I64(8),
        U64(8);

        private final int bytes;

        Type(int bytes) {
            this.bytes = bytes;
        }

        int bytes() {
            return bytes;
        }
    }

    /** A tensor's type, shape and place behind the header. */
    record Tensor(Type type, List<Long> shape, long begin, long end) {
        long numElements() {
            return (end - begin) / type.bytes();
        }
    }

    /** Length of the JSON, checked against the file's before anything is read or allocated. */
    static int jsonBytes(String path, byte[] lengthField, long fileBytes) {
        if (fileBytes < LENGTH_BYTES) {
            throw new CheckpointException(
                    path, "has " + fileBytes + " bytes, a safetensors file at least 8: truncated?");
        }
        long length =
                ByteBuffer.wrap(lengthField).order(ByteOrder.LITTLE_ENDIAN).getLong();
        if (length < 2 || length > MAX_JSON_BYTES || length > fileBytes - LENGTH_BYTES) {
            throw new CheckpointException(
                    path,
                    "header length " + Long.toUnsignedString(length) + " is outside [2, " + MAX_JSON_BYTES
                            + "] or behind the end of the file's " + fileBytes + " bytes");
        }
        return (int) length;
    }

    static SafetensorsHeader parse(String path, byte[] json, long fileBytes) {
        if (json[0] != '{') {
            throw new CheckpointException(path, "header does not begin with {");
        }
        Map<String, Tensor> tensors = new LinkedHashMap<>();
        Map<String, String> metadata = new LinkedHashMap<>();
        Json.stream(path, json, parser -> {
            for (String name = parser.nextFieldName(); name != null; name = parser.nextFieldName()) {
                if (name.equals(METADATA)) {
                    readMetadata(path, parser, metadata);
                } else {
                    tensors.put(checkName(path, name), tensor(path, name, parser));
                }
            }
        });
        long headerBytes = LENGTH_BYTES + (long) json.length;
        checkCover(path, tensors, fileBytes - headerBytes);
        return new SafetensorsHeader(headerBytes, tensors, metadata);
    }

    private static void readMetadata(String path, JsonParser parser, Map<String, String> metadata) throws IOException {
        require(path, parser.nextToken() == JsonToken.START_OBJECT, METADATA + " is no object");
        for (String key = parser.nextFieldName(); key != null; key = parser.nextFieldName()) {
            String value = parser.nextTextValue();
            require(path, value != null, METADATA + "." + abbreviate(key) + " is no string");
            metadata.put(key, value);
        }
    }

    private static String checkName(String path, String name) {
        require(
                path,
                !name.isEmpty() && name.length() <= MAX_NAME_LENGTH,
                "a tensor's name has " + name.length() + " characters, allowed are 1 to " + MAX_NAME_LENGTH);
        require(path, name.chars().noneMatch(Character::isISOControl), "a tensor's name holds control characters");
        return name;
    }

    private static Tensor tensor(String path, String name, JsonParser parser) throws IOException {
        require(path, parser.nextToken() == JsonToken.START_OBJECT, "tensor " + name + " is no object");
        Type type = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        for (String field = parser.nextFieldName(); field != null; field = parser.nextFieldName()) {
            switch (field) {
                case "dtype" -> type = type(path, name, parser.nextTextValue());
                case "shape" -> shape = wholeNumbers(path, name, field, parser);
                case "data_offsets" -> offsets = wholeNumbers(path, name, field, parser);
                default -> throw new CheckpointException(path, "tensor " + name + " has a field " + abbreviate(field));
            }
        }
        require(
                path,
                type != null && shape != null && offsets != null && offsets.size() == 2,
                "tensor " + name + " must have dtype, shape and two data_offsets");
        return checkedTensor(path, name, type, shape, offsets);
    }

    private static Type type(String path, String name, String text) {
        for (Type type : Type.values()) {
            if (type.name().equals(text)) {
                return type;
            }
        }
        throw new CheckpointException(
                path, "tensor " + name + " has unknown dtype " + abbreviate(String.valueOf(text)));
    }

    private static Tensor checkedTensor(String path, String name, Type type, List<Long> shape, List<Long> offsets) {
        long bytes = type.bytes();
        try {
            for (long dim : shape) {
                bytes = Math.multiplyExact(bytes, dim);
            }
        } catch (ArithmeticException e) {
            throw new CheckpointException(path, "tensor " + name + " shape " + shape + " overflows", e);
        }
        long begin = offsets.get(0);
        long end = offsets.get(1);
        require(
                path,
                begin <= end && end - begin == bytes,
                "tensor " + name + " " + type + shape + " has " + bytes + " bytes, its data_offsets say " + begin
                        + " to " + end);
        return new Tensor(type, shape, begin, end);
    }

    private static List<Long> wholeNumbers(String path, String name, String field, JsonParser parser)
            throws IOException {
        require(path, parser.nextToken() == JsonToken.START_ARRAY, "tensor " + name + " has no array " + field);
        List<Long> values = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            boolean whole = parser.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER
                    && parser.getLongValue() >= 0;
            require(
                    path,
                    whole && values.size() < MAX_DIMS,
                    "tensor " + name + " " + field + " holds what is no size, or" + " more than " + MAX_DIMS);
            values.add(parser.getLongValue());
        }
        return List.copyOf(values);
    }

    private static void checkCover(String path, Map<String, Tensor> tensors, long dataBytes) {
        List<Map.Entry<String, Tensor>> byPlace = new ArrayList<>(tensors.entrySet());
        byPlace.sort(Comparator.comparingLong(
                        (Map.Entry<String, Tensor> e) -> e.getValue().begin())
                .thenComparingLong(e -> e.getValue().end()));
        long end = 0;
        for (Map.Entry<String, Tensor> e : byPlace) {
            require(
                    path,
                    e.getValue().begin() == end,
                    "tensor " + e.getKey() + " begins at " + e.getValue().begin() + " where " + end
                            + " was expected: gap or overlap");
            end = e.getValue().end();
        }
        require(
                path,
                end == dataBytes,
                "tensors end at byte " + end + " of " + dataBytes + ": truncated or trailing bytes");
    }

    private static String abbreviate(String text) {
        return text.length() <= 40 ? text : text.substring(0, 40) + "…";
    }

    private static void require(String path, boolean holds, String what) {
        if (!holds) {
            throw new CheckpointException(path, what);
        }
    }
}
