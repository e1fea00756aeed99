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
import java.util.function.Supplier;

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

    /** A hundred times what the largest published files hold; bounds the heap that a header can claim. */
    private static final int MAX_TENSORS = 1 << 18;

    private static final int MAX_METADATA = 1 << 16;
    private static final int MAX_RANK = 64;

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
        SafetensorsHeader header =
                new SafetensorsHeader(LENGTH_BYTES + (long) json.length, new LinkedHashMap<>(), new LinkedHashMap<>());
        Json.stream(path, json, parser -> {
            parser.nextToken();
            while (parser.nextToken() != JsonToken.END_OBJECT) {
                header.readEntry(path, parser);
            }
        });
        checkCover(path, header.tensors, fileBytes - header.headerBytes);
        return header;
    }

    private void readEntry(String path, JsonParser parser) throws IOException {
        String name = parser.getCurrentName();
        parser.nextToken();
        if (name.equals(METADATA)) {
            readMetadata(path, parser);
            return;
        }
        checkName(path, name);
        tensors.put(name, tensor(path, name, parser));
        require(path, tensors.size() <= MAX_TENSORS, () -> "lists more than " + MAX_TENSORS + " tensors");
    }

    private void readMetadata(String path, JsonParser parser) throws IOException {
        require(path, parser.currentToken() == JsonToken.START_OBJECT, () -> METADATA + " is no object");
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String key = parser.getCurrentName();
            require(
                    path,
                    parser.nextToken() == JsonToken.VALUE_STRING,
                    () -> METADATA + "." + abbreviate(key) + " is no string");
            metadata.put(key, parser.getText());
            require(
                    path,
                    metadata.size() <= MAX_METADATA,
                    () -> "holds more than " + MAX_METADATA + " entries of metadata");
        }
    }

    /** Names are never used as paths; those that could be taken for one come from no honest writer. */
    private static void checkName(String path, String name) {
        require(
                path,
                !name.isEmpty() && name.length() <= MAX_NAME_LENGTH,
                () -> "a tensor's name has " + name.length() + " characters, allowed are 1 to " + MAX_NAME_LENGTH);
        require(
                path,
                name.chars().noneMatch(Character::isISOControl),
                () -> "a tensor's name holds control characters");
        boolean climbs = name.startsWith("/") || List.of(name.split("[/\\\\]")).contains("..");
        require(path, !climbs, () -> "a tensor is named like a path outside the directory: " + abbreviate(name));
    }

    private static Tensor tensor(String path, String name, JsonParser parser) throws IOException {
        require(path, parser.currentToken() == JsonToken.START_OBJECT, () -> which(name) + " is no object");
        Type type = null;
        List<Long> shape = null;
        List<Long> offsets = null;
        while (parser.nextToken() != JsonToken.END_OBJECT) {
            String field = parser.getCurrentName();
            parser.nextToken();
            switch (field) {
                case "dtype" -> type = type(path, name, parser);
                case "shape" -> shape = wholeNumbers(path, name, field, parser);
                case "data_offsets" -> offsets = wholeNumbers(path, name, field, parser);
                default -> throw new CheckpointException(
                        path, which(name) + " has the unknown field " + abbreviate(field));
            }
        }
        require(
                path,
                type != null && shape != null && offsets != null && offsets.size() == 2,
                () -> which(name) + " must have dtype, shape and two data_offsets");
        return checked(path, name, new Tensor(type, shape, offsets.get(0), offsets.get(1)));
    }

    private static Type type(String path, String name, JsonParser parser) throws IOException {
        require(
                path,
                parser.currentToken() == JsonToken.VALUE_STRING,
                () -> which(name) + " has a dtype that is no string");
        try {
            return Type.valueOf(parser.getText());
        } catch (IllegalArgumentException e) {
            throw new CheckpointException(path, which(name) + " has unknown dtype " + abbreviate(parser.getText()), e);
        }
    }

    private static List<Long> wholeNumbers(String path, String name, String field, JsonParser parser)
            throws IOException {
        require(path, parser.currentToken() == JsonToken.START_ARRAY, () -> which(name) + " " + field + " is no array");
        List<Long> values = new ArrayList<>();
        while (parser.nextToken() != JsonToken.END_ARRAY) {
            boolean whole = parser.currentToken() == JsonToken.VALUE_NUMBER_INT
                    && parser.getNumberType() != JsonParser.NumberType.BIG_INTEGER
                    && parser.getLongValue() >= 0;
            require(
                    path,
                    whole,
                    () -> which(name) + " " + field + " holds something else than whole numbers below 2^63");
            values.add(parser.getLongValue());
            require(
                    path,
                    values.size() <= MAX_RANK,
                    () -> which(name) + " " + field + " has more than " + MAX_RANK + " numbers");
        }
        return List.copyOf(values);
    }

    /** Requires that the range is as long as type and shape say. */
    private static Tensor checked(String path, String name, Tensor tensor) {
        long bytes = tensor.type().bytes();
        try {
            for (long dim : tensor.shape()) {
                bytes = Math.multiplyExact(bytes, dim);
            }
        } catch (ArithmeticException e) {
            throw new CheckpointException(path, which(name) + " shape " + tensor.shape() + " overflows", e);
        }
        if (tensor.begin() > tensor.end() || tensor.end() - tensor.begin() != bytes) {
            throw new CheckpointException(
                    path,
                    which(name) + " " + tensor.type() + tensor.shape() + " has " + bytes
                            + " bytes, its data_offsets say " + tensor.begin() + " to " + tensor.end());
        }
        return tensor;
    }

    private static void checkCover(String path, Map<String, Tensor> tensors, long dataBytes) {
        List<Map.Entry<String, Tensor>> byPlace = new ArrayList<>(tensors.entrySet());
        byPlace.sort(Comparator.comparingLong(
                        (Map.Entry<String, Tensor> e) -> e.getValue().begin())
                .thenComparingLong(e -> e.getValue().end()));
        long end = 0;
        for (Map.Entry<String, Tensor> e : byPlace) {
            if (e.getValue().begin() != end) {
                throw new CheckpointException(
                        path,
                        which(e.getKey()) + " begins at " + e.getValue().begin() + " where " + end
                                + " was expected: gap or overlap");
            }
            end = e.getValue().end();
        }
        if (end != dataBytes) {
            throw new CheckpointException(
                    path, "tensors end at byte " + end + " of " + dataBytes + ": truncated or trailing bytes");
        }
    }

    private static String which(String name) {
        return "tensor " + abbreviate(name);
    }

    private static String abbreviate(String text) {
        return text.length() <= 40 ? text : text.substring(0, 40) + "…";
    }

    /** @param what made only when it is needed: a header can hold very many tensors */
    private static void require(String path, boolean holds, Supplier<String> what) {
        if (!holds) {
            throw new CheckpointException(path, what.get());
        }
    }
}
