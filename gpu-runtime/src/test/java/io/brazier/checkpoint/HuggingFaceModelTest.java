package io.brazier.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class HuggingFaceModelTest {
    private static final LocalStorage STORAGE = new LocalStorage();

    @TempDir
    Path directory;

    private Path model;

    @BeforeEach
    void writeTwoShards() throws IOException {
        model = Files.createDirectory(directory.resolve("model"));
        Files.writeString(model.resolve("config.json"), "{\"model_type\":\"gpt2\"}");
        writeShard(model.resolve("one.safetensors"), "a");
        writeShard(model.resolve("two.safetensors"), "b");
        writeShard(directory.resolve("outside.safetensors"), "b");
        index("two.safetensors");
    }

    private void index(String shardOfB) throws IOException {
        Files.writeString(
                model.resolve("model.safetensors.index.json"),
                Json.mapper()
                        .createObjectNode()
                        .set(
                                "weight_map",
                                Json.mapper()
                                        .createObjectNode()
                                        .put("a", "one.safetensors")
                                        .put("b", shardOfB))
                        .toString());
    }

    private static void writeShard(Path path, String tensor) throws IOException {
        try (var out = Files.newOutputStream(path)) {
            SafetensorsWriter.write(
                    out,
                    List.of(new SafetensorsWriter.Tensor(tensor, List.of(1L), (offset, target) -> target.put(7))),
                    Map.of());
        }
    }

    private HuggingFaceModel open() {
        return HuggingFaceModel.open(STORAGE, model.toString());
    }

    @Test
    void shardsAreOneModel() {
        assertEquals(Set.of("a", "b"), open().names());
        FloatBuffer value = FloatBuffer.allocate(1);
        open().read("b", 0, value);
        assertEquals(7, value.get(0));
    }

    @ParameterizedTest
    @ValueSource(
            strings = {
                "../outside.safetensors",
                "/etc/passwd",
                "sub/two.safetensors",
                "missing.safetensors",
                "one.safetensors",
                "",
                ".",
                "two.safetensors\0"
            })
    void indexCannotNameWhatIsNotThere(String shard) throws IOException {
        index(shard);
        assertThrows(CheckpointException.class, this::open);
    }

    @Test
    void indexCannotLeadOutByALink() throws IOException {
        Files.createSymbolicLink(model.resolve("link.safetensors"), directory.resolve("outside.safetensors"));
        index("link.safetensors");
        assertThrows(CheckpointException.class, this::open);
    }

    @Test
    void hostileConfigIsRefused() throws IOException {
        for (String json : new String[] {
            "", "[1]", "{\"a\":".repeat(5000), "{\"a\":1,\"a\":2}", "{} {}", "{\"a\":[" + "0,".repeat(1 << 23) + "0]}"
        }) {
            Files.writeString(model.resolve("config.json"), json);
            assertThrows(CheckpointException.class, this::open);
        }
    }

    @Test
    void aFailedWriteLeavesNothing() throws IOException {
        String target = directory.resolve("written").toString();
        SafetensorsWriter.Tensor failing = new SafetensorsWriter.Tensor("a", List.of(4L), (offset, values) -> {
            throw new IllegalStateException("device lost");
        });
        assertThrows(
                IllegalStateException.class,
                () -> HuggingFaceModel.write(
                        STORAGE, target, Json.mapper().createObjectNode(), List.of(failing), Map.of()));
        try (var files = Files.list(directory)) {
            assertTrue(files.noneMatch(f -> f.getFileName().toString().startsWith("written")));
        }
        assertThrows(
                IOException.class,
                () -> HuggingFaceModel.write(
                        STORAGE, model.toString(), Json.mapper().createObjectNode(), List.of(), Map.of()));
        assertFalse(Files.exists(Path.of(model + ".writing")));
    }

    @Test
    void aSlashAtTheEndIsNoOtherDirectory() throws IOException {
        String target = directory.resolve("written").toString();
        HuggingFaceModel.write(STORAGE, target + "/", open().config(), List.of(), Map.of());
        assertEquals(
                "gpt2",
                HuggingFaceModel.open(STORAGE, target)
                        .config()
                        .path("model_type")
                        .asText());
    }
}
