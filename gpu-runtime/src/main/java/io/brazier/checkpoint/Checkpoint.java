package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.tensor.Shard.Place;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * A committed checkpoint. Its manifest was verified when it was opened; a shard file is, as a whole, before its first byte is used.
 * One thread uses it.
 */
public final class Checkpoint {
    static final String MANIFEST = "manifest.json";
    static final String DIGEST = "sha256";
    static final int FORMAT = 2;

    private final String path;
    private final long step;
    private final JsonNode state;
    /** Elements that a short read takes along for the next one: a seek costs as much. */
    private static final int AHEAD = 1 << 14;

    /** Parts whose last short read is kept. */
    private static final int NUM_WINDOWS = 64;

    private final Map<String, List<Part>> parts = new HashMap<>();
    private final Map<Part, Window> windows = new LinkedHashMap<>(16, 0.75f, true) {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Part, Window> eldest) {
            return size() > NUM_WINDOWS;
        }
    };

    /** Compared by identity. */
    private static final class Part {
        private final Slice slice;
        private final ShardFile file;

        Part(Slice slice, ShardFile file) {
            this.slice = slice;
            this.file = file;
        }
    }

    /** Elements of a part from one on. */
    private record Window(long start, FloatBuffer elements) {}

    /** What {@link #forEachRun} calls: elements [local, local + count) of a part are done elements on. */
    private interface Run {
        void at(Part part, long local, long done, long count);
    }

    private Checkpoint(String path, long step, JsonNode state) {
        this.path = path;
        this.step = step;
        this.state = state;
    }

    /** @throws CheckpointException when the manifest is missing or differs from what was written */
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
            ShardRecord shard = ShardRecord.fromJson(manifestPath, node);
            ShardFile file = new ShardFile(storage, path, shard);
            for (Slice slice : shard.slices()) {
                checkpoint
                        .parts
                        .computeIfAbsent(slice.array(), k -> new ArrayList<>())
                        .add(new Part(slice, file));
            }
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

    /** Elements of an array that shards hold, 0 when there is no such array. */
    public long numElements(String array) {
        return parts.getOrDefault(array, List.of()).stream()
                .mapToLong(part -> part.slice.count())
                .sum();
    }

    /**
     * Verifies the shard files that hold elements [offset, offset + count) of an array.
     *
     * @throws CheckpointException when one of them is damaged, or no shard holds an element
     */
    public void verify(String array, long offset, long count) {
        forEachRun(array, offset, count, (part, local, done, length) -> part.file.verify());
    }

    /**
     * Copies target.remaining() elements of an array, from element offset of the whole array on, from however many shards hold them.
     *
     * @throws CheckpointException as {@link #verify} does
     */
    public void read(String array, long offset, FloatBuffer target) {
        int first = target.position();
        forEachRun(array, offset, target.remaining(), (part, local, done, count) -> {
            FloatBuffer run = target.slice(first + (int) done, (int) count);
            if (count < AHEAD) {
                copy(part, local, run);
            } else {
                part.file.read(array, local, run);
            }
        });
        target.position(target.limit());
    }

    private void copy(Part part, long local, FloatBuffer target) {
        int count = target.remaining();
        Window window = windows.get(part);
        if (window == null
                || local < window.start()
                || local + count > window.start() + window.elements().capacity()) {
            FloatBuffer elements = FloatBuffer.allocate((int) Math.min(AHEAD, part.slice.count() - local));
            part.file.read(part.slice.array(), local, elements);
            window = new Window(local, elements);
            windows.put(part, window);
        }
        target.put(0, window.elements(), (int) (local - window.start()), count);
    }

    private void forEachRun(String array, long offset, long count, Run run) {
        List<Part> candidates = parts.getOrDefault(array, List.of());
        for (long done = 0; done < count; ) {
            Part part = null;
            Place place = null;
            for (int x = 0; x < candidates.size() && part == null; x++) {
                place = candidates.get(x).slice.find(offset + done);
                part = place.local() < 0 ? null : candidates.get(x);
            }
            if (part == null) {
                throw new CheckpointException(path, "has no element " + (offset + done) + " of " + array);
            }
            long length = Math.min(place.count(), count - done);
            run.at(part, place.local(), done, length);
            done += length;
        }
    }
}
