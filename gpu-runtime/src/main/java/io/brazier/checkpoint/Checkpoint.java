package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.FloatBuffer;
import java.security.MessageDigest;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;

/** A committed checkpoint whose every byte was verified when it was opened. */
public final class Checkpoint {
    static final String MANIFEST = "manifest.json";
    static final String DIGEST = "sha256";
    static final int FORMAT = 1;

    private final String path;
    private final long step;
    private final JsonNode state;
    private final List<Part> parts = new ArrayList<>();

    private record Part(Slice slice, SafetensorsFile file, String tensor) {}

    private Checkpoint(String path, long step, JsonNode state) {
        this.path = path;
        this.step = step;
        this.state = state;
    }

    /** @throws CheckpointException when manifest or shards are missing or differ from what was written */
    static Checkpoint open(Storage storage, String path) {
        String manifestPath = path + "/" + MANIFEST;
        ObjectNode manifest = (ObjectNode) Json.read(storage, manifestPath);
        if (ShardRecord.number(manifestPath, manifest, "format") != FORMAT) {
            throw new CheckpointException(
                    manifestPath, "has format " + manifest.path("format") + ", this version reads " + FORMAT);
        }
        JsonNode digest = manifest.remove(DIGEST);
        if (digest == null || !digest.asText().equals(digest(manifest))) {
            throw new CheckpointException(manifestPath, "is not what was written: its " + DIGEST + " does not agree");
        }
        Checkpoint checkpoint =
                new Checkpoint(path, ShardRecord.number(manifestPath, manifest, "step"), manifest.path("state"));
        for (JsonNode node : manifest.path("shards")) {
            checkpoint.add(storage, ShardRecord.fromJson(manifestPath, node));
        }
        if (checkpoint.parts.isEmpty()) {
            throw new CheckpointException(manifestPath, "lists no shards");
        }
        return checkpoint;
    }

    /** SHA-256 of a manifest that does not have its own yet. */
    static String digest(ObjectNode manifest) {
        return HexFormat.of().formatHex(CheckpointStore.sha256().digest(Json.bytes(manifest)));
    }

    private void add(Storage storage, ShardRecord shard) {
        String file = path + "/" + shard.file();
        String actual = sha256(storage, file, shard.bytes());
        if (!actual.equals(shard.sha256())) {
            throw new CheckpointException(file, "has SHA-256 " + actual + ", the manifest says " + shard.sha256());
        }
        SafetensorsFile tensors = SafetensorsFile.open(storage, file);
        for (int x = 0; x < shard.slices().size(); x++) {
            Slice slice = shard.slices().get(x);
            String tensor = CheckpointStore.tensorName(slice);
            if (!tensors.shape(tensor).equals(List.of(slice.count()))) {
                throw new CheckpointException(file, "tensor " + tensor + " has shape " + tensors.shape(tensor));
            }
            parts.add(new Part(slice, tensors, tensor));
        }
    }

    private static String sha256(Storage storage, String file, long bytes) {
        try {
            if (storage.size(file) != bytes) {
                throw new CheckpointException(file, "has " + storage.size(file) + " bytes, the manifest says " + bytes);
            }
            MessageDigest digest = CheckpointStore.sha256();
            byte[] chunk = new byte[1 << 16];
            try (InputStream in = storage.openAt(file, 0)) {
                for (int n = in.read(chunk); n >= 0; n = in.read(chunk)) {
                    digest.update(chunk, 0, n);
                }
            }
            return HexFormat.of().formatHex(digest.digest());
        } catch (IOException e) {
            throw new CheckpointException(file, "cannot be read: " + e, e);
        }
    }

    public String path() {
        return path;
    }

    /** Steps finished when it was written. */
    public long step() {
        return step;
    }

    /** What the writer stored beside the arrays. */
    public JsonNode state() {
        return state;
    }

    /** Copies target.remaining() elements of an array, from offset on, from however many shards hold them. */
    public void read(String array, long offset, FloatBuffer target) {
        while (target.hasRemaining()) {
            long at = offset;
            Part part = parts.stream()
                    .filter(p -> p.slice().array().equals(array))
                    .filter(p -> p.slice().offset() <= at
                            && at < p.slice().offset() + p.slice().count())
                    .findFirst()
                    .orElseThrow(() -> new CheckpointException(path, "has no element " + at + " of " + array));
            long inside = at - part.slice().offset();
            int count = (int) Math.min(target.remaining(), part.slice().count() - inside);
            FloatBuffer window = target.slice(target.position(), count);
            part.file().read(part.tensor(), inside, window);
            target.position(target.position() + count);
            offset += count;
        }
    }
}
