package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;

/**
 * A directory in Hugging Face's layout: {@code config.json} and {@code model.safetensors}, or the shards that
 * {@code model.safetensors.index.json} names. Thread-safe.
 */
public final class HuggingFaceModel {
    private static final String CONFIG = "config.json";
    private static final String SINGLE = "model.safetensors";
    private static final String INDEX = "model.safetensors.index.json";

    /** Bytes of tensors in a file unless told otherwise; transformers' limit for many years. */
    private static final long MAX_SHARD_BYTES = 5_000_000_000L;

    private final String directory;
    private final JsonNode config;
    private final Map<String, SafetensorsFile> files = new LinkedHashMap<>();

    private HuggingFaceModel(String directory, JsonNode config) {
        this.directory = directory;
        this.config = config;
    }

    /** @throws CheckpointException when a file is missing or damaged */
    public static HuggingFaceModel open(Storage storage, String directory) {
        HuggingFaceModel model = new HuggingFaceModel(directory, Json.read(storage, directory + "/" + CONFIG));
        try {
            if (storage.exists(directory + "/" + SINGLE)) {
                model.add(SafetensorsFile.open(storage, directory + "/" + SINGLE));
            } else if (storage.exists(directory + "/" + INDEX)) {
                model.addShards(storage);
            } else {
                throw new CheckpointException(directory, "holds neither " + SINGLE + " nor " + INDEX);
            }
        } catch (IOException e) {
            throw new CheckpointException(directory, "cannot be read: " + e, e);
        }
        return model;
    }

    /**
     * The config alone; the directory need not hold weights.
     *
     * @throws CheckpointException when the config is missing or damaged
     */
    public static HuggingFaceModel openConfig(Storage storage, String directory) {
        return new HuggingFaceModel(directory, Json.read(storage, directory + "/" + CONFIG));
    }

    private void add(SafetensorsFile file) {
        for (String name : file.names()) {
            if (files.put(name, file) != null) {
                throw new CheckpointException(file.path(), "tensor " + name + " is in another shard too");
            }
        }
    }

    private void addShards(Storage storage) throws IOException {
        String path = directory + "/" + INDEX;
        JsonNode map = Json.read(storage, path).path("weight_map");
        if (!map.isObject() || map.isEmpty()) {
            throw new CheckpointException(path, "has no weight_map");
        }
        Set<String> shards = new LinkedHashSet<>();
        for (JsonNode shard : map) {
            shards.add(checkedShard(path, shard));
        }
        List<String> present = storage.list(directory);
        for (String shard : shards) {
            if (!present.contains(shard)) {
                throw new CheckpointException(path, "names the shard " + shard + ", which is missing");
            }
            if (storage.isLink(directory + "/" + shard)) {
                throw new CheckpointException(
                        path, "names the shard " + shard + ", which is a symbolic link: put the file in its place");
            }
            add(SafetensorsFile.open(storage, directory + "/" + shard));
        }
        map.fields().forEachRemaining(e -> {
            SafetensorsFile file = files.get(e.getKey());
            if (file == null
                    || !file.path().equals(directory + "/" + e.getValue().asText())) {
                throw new CheckpointException(
                        path,
                        "tensor " + e.getKey() + " is not in " + e.getValue().asText());
            }
        });
    }

    /** A shard is a plain file name: nothing outside the directory is ever opened. */
    private static String checkedShard(String path, JsonNode shard) {
        String name = shard.asText();
        if (!shard.isTextual() || !name.matches("[A-Za-z0-9_][A-Za-z0-9_.-]*\\.safetensors")) {
            throw new CheckpointException(path, "names a shard that is no plain safetensors file name");
        }
        return name;
    }

    public String directory() {
        return directory;
    }

    public JsonNode config() {
        return config;
    }

    /** Whether it was opened with its weights. */
    public boolean hasWeights() {
        return !files.isEmpty();
    }

    public Set<String> names() {
        return files.keySet();
    }

    public List<Long> shape(String name) {
        return file(name).shape(name);
    }

    /** Copies target.remaining() elements of a tensor, from element offset on, as f32. */
    public void read(String name, long offset, FloatBuffer target) {
        file(name).read(name, offset, target);
    }

    private SafetensorsFile file(String name) {
        SafetensorsFile file = files.get(name);
        if (file == null) {
            throw new CheckpointException(directory, "has no tensor " + name);
        }
        return file;
    }

    /** {@link #write(Storage, String, JsonNode, List, Map, long)} with shards of at most 5 GB. */
    public static void write(
            Storage storage,
            String directory,
            JsonNode config,
            List<SafetensorsWriter.Tensor> tensors,
            Map<String, byte[]> files)
            throws IOException {
        write(storage, directory, config, tensors, files, MAX_SHARD_BYTES);
    }

    /**
     * Writes a model directory, which appears in one step when all is there: {@code model.safetensors}, or shards and their index
     * where that would be too large.
     *
     * @param files more files by name, tokenizer and the like
     * @param maxShardBytes of the tensors of a shard; one that is larger has a shard of its own
     * @throws IOException when the directory exists or cannot be written; nothing is left behind then
     */
    public static void write(
            Storage storage,
            String directory,
            JsonNode config,
            List<SafetensorsWriter.Tensor> tensors,
            Map<String, byte[]> files,
            long maxShardBytes)
            throws IOException {
        if (storage.exists(directory)) {
            throw new IOException(directory + " exists: give another path or remove it");
        }
        String temporary = directory.replaceFirst("/+$", "") + ".writing";
        Map<String, List<SafetensorsWriter.Tensor>> shards = shards(tensors, maxShardBytes);
        try {
            storage.delete(temporary);
            storage.createDirectories(temporary);
            Map<String, byte[]> all = new LinkedHashMap<>(files);
            all.put(CONFIG, Json.bytes(config));
            if (shards.size() > 1) {
                all.put(INDEX, Json.bytes(index(shards)));
            }
            for (Map.Entry<String, byte[]> file : all.entrySet()) {
                try (OutputStream out = storage.create(temporary + "/" + file.getKey())) {
                    out.write(file.getValue());
                }
            }
            for (Map.Entry<String, List<SafetensorsWriter.Tensor>> shard : shards.entrySet()) {
                try (OutputStream out = storage.create(temporary + "/" + shard.getKey())) {
                    SafetensorsWriter.write(out, shard.getValue(), Map.of("format", "pt"));
                }
            }
            storage.rename(temporary, directory);
        } catch (IOException | RuntimeException e) {
            try {
                storage.delete(temporary);
            } catch (IOException cleanup) {
                e.addSuppressed(cleanup);
            }
            throw e;
        }
    }

    /** Tensors by file, in order. */
    private static Map<String, List<SafetensorsWriter.Tensor>> shards(
            List<SafetensorsWriter.Tensor> tensors, long maxShardBytes) {
        List<List<SafetensorsWriter.Tensor>> parts = new ArrayList<>(List.of(new ArrayList<>()));
        long held = 0;
        for (SafetensorsWriter.Tensor tensor : tensors) {
            if (held > 0 && held + tensor.bytes() > maxShardBytes) {
                parts.add(new ArrayList<>());
                held = 0;
            }
            parts.get(parts.size() - 1).add(tensor);
            held += tensor.bytes();
        }
        Map<String, List<SafetensorsWriter.Tensor>> shards = new LinkedHashMap<>();
        for (List<SafetensorsWriter.Tensor> part : parts) {
            String name = String.format(Locale.ROOT, "model-%05d-of-%05d.safetensors", shards.size() + 1, parts.size());
            shards.put(parts.size() == 1 ? SINGLE : name, part);
        }
        return shards;
    }

    private static JsonNode index(Map<String, List<SafetensorsWriter.Tensor>> shards) {
        ObjectNode index = Json.mapper().createObjectNode();
        ObjectNode metadata = index.putObject("metadata");
        ObjectNode map = index.putObject("weight_map");
        long bytes = 0;
        for (Map.Entry<String, List<SafetensorsWriter.Tensor>> shard : shards.entrySet()) {
            for (SafetensorsWriter.Tensor tensor : shard.getValue()) {
                map.put(tensor.name(), shard.getKey());
                bytes += tensor.bytes();
            }
        }
        metadata.put("total_size", bytes);
        return index;
    }
}
