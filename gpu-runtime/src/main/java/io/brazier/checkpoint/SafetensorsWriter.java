package io.brazier.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.List;
import java.util.Map;

/** Writes f32 tensors in the safetensors format, streaming. */
public final class SafetensorsWriter {
    private static final int CHUNK_ELEMENTS = 1 << 18;
    private static final ObjectMapper COMPACT = new ObjectMapper();

    /** Gives the elements of a tensor, part by part. */
    public interface Elements {
        /** Fills target with elements from offset on. */
        void read(long offset, FloatBuffer target);
    }

    /** A tensor to write. */
    public record Tensor(String name, List<Long> shape, Elements elements) {
        long numElements() {
            return shape.stream().reduce(1L, Math::multiplyExact);
        }

        long bytes() {
            return Math.multiplyExact(numElements(), Float.BYTES);
        }
    }

    private SafetensorsWriter() {}

    /** Writes a whole file to a stream, which stays open. */
    public static void write(OutputStream out, List<Tensor> tensors, Map<String, String> metadata) throws IOException {
        out.write(header(tensors, metadata));
        ByteBuffer chunk = ByteBuffer.allocate(CHUNK_ELEMENTS * Float.BYTES).order(ByteOrder.LITTLE_ENDIAN);
        for (Tensor tensor : tensors) {
            for (long offset = 0; offset < tensor.numElements(); offset += CHUNK_ELEMENTS) {
                int count = (int) Math.min(CHUNK_ELEMENTS, tensor.numElements() - offset);
                tensor.elements().read(offset, chunk.asFloatBuffer().limit(count));
                out.write(chunk.array(), 0, count * Float.BYTES);
            }
        }
    }

    /** Length field and JSON, padded with blanks so that the data begins at a multiple of 8. */
    private static byte[] header(List<Tensor> tensors, Map<String, String> metadata) throws JsonProcessingException {
        ObjectNode root = COMPACT.createObjectNode();
        if (!metadata.isEmpty()) {
            ObjectNode node = root.putObject("__metadata__");
            metadata.forEach(node::put);
        }
        long begin = 0;
        for (Tensor tensor : tensors) {
            long end = Math.addExact(begin, tensor.bytes());
            if (root.has(tensor.name())) {
                throw new IllegalArgumentException("two tensors are named " + tensor.name());
            }
            ObjectNode node = root.putObject(tensor.name());
            node.put("dtype", "F32");
            tensor.shape().forEach(node.withArray("shape")::add);
            node.withArray("data_offsets").add(begin).add(end);
            begin = end;
        }
        byte[] json = COMPACT.writeValueAsString(root).getBytes(StandardCharsets.UTF_8);
        byte[] padded = Arrays.copyOf(json, (json.length + 7) / 8 * 8);
        Arrays.fill(padded, json.length, padded.length, (byte) ' ');
        return ByteBuffer.allocate(SafetensorsHeader.LENGTH_BYTES + padded.length)
                .order(ByteOrder.LITTLE_ENDIAN)
                .putLong(padded.length)
                .put(padded)
                .array();
    }
}
