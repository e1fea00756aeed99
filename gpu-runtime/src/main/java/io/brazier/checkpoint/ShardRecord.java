package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;

/**
 * A shard file of a checkpoint as the manifest lists it.
 *
 * @param sha256 of the whole file, in hexadecimal
 * @param slices at most one of each array, in the tensor of its name
 */
public record ShardRecord(String file, long bytes, String sha256, List<Slice> slices) {

    public ShardRecord {
        slices = List.copyOf(slices);
    }

    /** For the manifest, and for sending to rank 0. */
    public ObjectNode toJson() {
        ObjectNode node = Json.mapper().createObjectNode();
        node.put("file", file).put("bytes", bytes).put("sha256", sha256);
        node.set("slices", Slice.toJson(slices));
        return node;
    }

    /** @throws CheckpointException when a field is missing or of the wrong kind */
    public static ShardRecord fromJson(String path, JsonNode node) {
        String file = text(path, node, "file");
        if (!file.matches("[A-Za-z0-9_][A-Za-z0-9_.-]*")) {
            throw new CheckpointException(path, "names a shard that is no plain file name");
        }
        return new ShardRecord(
                file,
                number(path, node, "bytes"),
                text(path, node, "sha256"),
                Slice.fromJson(path, node.path("slices")));
    }

    private static String text(String path, JsonNode node, String field) {
        if (!node.path(field).isTextual()) {
            throw new CheckpointException(path, "has no text " + field);
        }
        return node.path(field).textValue();
    }

    static long number(String path, JsonNode node, String field) {
        JsonNode value = node.path(field);
        if (!value.isIntegralNumber() || !value.canConvertToLong() || value.longValue() < 0) {
            throw new CheckpointException(path, "has no whole number " + field);
        }
        return value.longValue();
    }
}
