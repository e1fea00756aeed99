package io.brazier.checkpoint;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
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

    /**
     * Writes a model directory, which appears in one step when all is there.
     *
     * @param files more files by name, tokenizer and the like
     * @throws IOException when the directory exists or cannot be written; nothing is left behind then
     */
    public static void write(
            Storage storage,
            String directory,
            JsonNode config,
            List<SafetensorsWriter.Tensor> tensors,
            Map<String, byte[]> files)
            throws IOException {
        if (storage.exists(directory)) {
            throw new IOException(directory + " exists: give another path or remove it");
        }
        String temporary = directory.replaceFirst("/+$", "") + ".writing";
        try {
            storage.delete(temporary);
            storage.createDirectories(temporary);
            Map<String, byte[]> all = new LinkedHashMap<>(files);
            all.put(CONFIG, Json.bytes(config));
            for (Map.Entry<String, byte[]> file : all.entrySet()) {
                try (OutputStream out = storage.create(temporary + "/" + file.getKey())) {
                    out.write(file.getValue());
                }
            }
            try (OutputStream out = storage.create(temporary + "/" + SINGLE)) {
                SafetensorsWriter.write(out, new ArrayList<>(tensors), Map.of("format", "pt"));
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
}
