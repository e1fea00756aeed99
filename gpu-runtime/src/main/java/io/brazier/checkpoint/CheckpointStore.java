package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.security.DigestOutputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;

/**
 * The checkpoints of a run, in one directory. Ranks write shards into a temporary directory; the manifest and a rename commit them
 * in one step. A marker file fences off attempts of an older generation: they cannot commit.
 *
 * <pre>
 * step-00000120/manifest.json, rank-00000-of-00002.safetensors, …
 * .step-00000240.g3.tmp/        being written by generation 3
 * .step-00000120.aside/         its place is being taken
 * .generation-3                 no older generation may commit
 * </pre>
 */
public final class CheckpointStore {
    private static final String STEP_PREFIX = "step-";
    private static final String MARKER_PREFIX = ".generation-";
    private static final String ASIDE_SUFFIX = ".aside";

    private final Storage storage;
    private final String directory;

    public CheckpointStore(Storage storage, String directory) {
        this.storage = storage;
        this.directory = directory;
    }

    public String directory() {
        return directory;
    }

    static MessageDigest sha256() {
        try {
            return MessageDigest.getInstance("SHA-256");
        } catch (NoSuchAlgorithmException e) {
            throw new AssertionError(e);
        }
    }

    /** A slice and where its elements, counted from the slice's first, come from. */
    public record Source(Slice slice, SafetensorsWriter.Elements elements) {}

    /** Highest generation that was fenced off so far; 0 at first. */
    public int generation() throws IOException {
        int highest = 0;
        for (String name : storage.list(directory)) {
            if (name.matches("\\.generation-\\d{1,9}")) {
                highest = Math.max(highest, Integer.parseInt(name.substring(MARKER_PREFIX.length())));
            }
        }
        return highest;
    }

    /**
     * Ends every attempt of a generation below this one: none can commit any more, and what they left unfinished is removed. The
     * driver calls it before an attempt starts.
     *
     * @throws IOException when a newer generation has begun, or the storage fails
     */
    public void fence(int generation) throws IOException {
        storage.createDirectories(directory);
        refuseIfStale(generation, "start");
        String marker = directory + "/" + MARKER_PREFIX + generation;
        if (!storage.exists(marker)) {
            storage.create(marker).close();
        }
        for (String name : storage.list(directory)) {
            if (name.matches("\\.step-\\d{8,18}\\.aside")) {
                putBack(name.substring(1, name.length() - ASIDE_SUFFIX.length()));
            }
        }
        for (String name : storage.list(directory)) {
            boolean olderMarker = name.startsWith(MARKER_PREFIX) && !name.equals(MARKER_PREFIX + generation);
            if (name.endsWith(".tmp") || olderMarker) {
                storage.delete(directory + "/" + name);
            }
        }
    }

    private String temporary(long step, int generation) {
        return directory + "/." + name(step) + ".g" + generation + ".tmp";
    }

    private static String name(long step) {
        return String.format("%s%08d", STEP_PREFIX, step);
    }

    /** Where a committed checkpoint of a step lies. */
    public String path(long step) {
        return directory + "/" + name(step);
    }

    /**
     * Writes one rank's part of a checkpoint.
     *
     * @return what the manifest must say of it
     */
    public ShardRecord writeShard(long step, int generation, int rank, int size, List<Source> sources)
            throws IOException {
        String temporary = temporary(step, generation);
        storage.createDirectories(temporary);
        String file = String.format("rank-%05d-of-%05d.safetensors", rank, size);
        List<SafetensorsWriter.Tensor> tensors = new ArrayList<>();
        for (Source source : sources) {
            Slice slice = source.slice();
            tensors.add(new SafetensorsWriter.Tensor(slice.array(), List.of(slice.count()), source.elements()));
        }
        DigestOutputStream digest;
        try (OutputStream out = storage.create(temporary + "/" + file)) {
            digest = new DigestOutputStream(out, sha256());
            SafetensorsWriter.write(digest, tensors, Map.of());
        }
        return new ShardRecord(
                file,
                storage.size(temporary + "/" + file),
                HexFormat.of().formatHex(digest.getMessageDigest().digest()),
                sources.stream().map(Source::slice).toList());
    }

    /**
     * Makes a checkpoint of shards that all ranks have written. It takes the place of an older one of that step, which was damaged or
     * not resumed from.
     *
     * @return the path of the committed checkpoint
     * @throws IOException when a newer generation has begun, or the storage fails; nothing is committed then
     */
    public String commit(long step, int generation, List<ShardRecord> shards, JsonNode state) throws IOException {
        String temporary = temporary(step, generation);
        String target = path(step);
        ObjectNode manifest = Json.mapper().createObjectNode();
        manifest.put("format", Checkpoint.FORMAT).put("step", step).put("generation", generation);
        manifest.set("state", state);
        shards.forEach(shard -> manifest.withArray("shards").add(shard.toJson()));
        manifest.put(Checkpoint.DIGEST, Checkpoint.digest(manifest));
        try (OutputStream out = storage.create(temporary + "/" + Checkpoint.MANIFEST)) {
            out.write(Json.bytes(manifest));
        }
        refuseIfStale(generation, "commit step " + step);
        if (storage.exists(target)) {
            storage.rename(target, aside(name(step)));
        }
        try {
            storage.rename(temporary, target);
        } catch (IOException e) {
            try {
                putBack(name(step));
            } catch (IOException cleanup) {
                e.addSuppressed(cleanup);
            }
            throw e;
        }
        storage.delete(aside(name(step)));
        return target;
    }

    private void refuseIfStale(int generation, String what) throws IOException {
        int newest = generation();
        if (newest > generation) {
            throw new IOException(
                    "generation " + generation + " may not " + what + ": generation " + newest + " has begun");
        }
    }

    private String aside(String name) {
        return directory + "/." + name + ASIDE_SUFFIX;
    }

    /** What was put aside is needed again when nothing took its place: the attempt died or was fenced off just then. */
    private void putBack(String name) throws IOException {
        String aside = aside(name);
        if (storage.exists(directory + "/" + name)) {
            storage.delete(aside);
        } else if (storage.exists(aside)) {
            storage.rename(aside, directory + "/" + name);
        }
    }

    /** Removes what this generation has written of a step that will not be committed. */
    public void discard(long step, int generation) throws IOException {
        storage.delete(temporary(step, generation));
    }

    /** Steps of committed checkpoints, newest first. */
    public List<Long> steps() {
        try {
            return storage.list(directory).stream()
                    .filter(name -> name.matches("step-\\d{8,18}"))
                    .map(name -> Long.parseLong(name.substring(STEP_PREFIX.length())))
                    .sorted(Comparator.reverseOrder())
                    .toList();
        } catch (IOException e) {
            throw new CheckpointException(directory, "cannot be listed: " + e, e);
        }
    }

    /** @throws CheckpointException when there is none of that step, or its manifest is damaged */
    public Checkpoint open(long step) {
        Checkpoint checkpoint = open(path(step));
        if (checkpoint.step() != step) {
            throw new CheckpointException(checkpoint.path(), "is the one of step " + checkpoint.step());
        }
        return checkpoint;
    }

    /** @throws CheckpointException when there is none, or its manifest is damaged */
    public Checkpoint open(String path) {
        return Checkpoint.open(storage, path);
    }

    /** Removes all but the newest checkpoints. */
    public void keepLast(int count) throws IOException {
        List<Long> steps = steps();
        for (long step : steps.subList(Math.min(count, steps.size()), steps.size())) {
            storage.delete(path(step));
        }
    }
}
