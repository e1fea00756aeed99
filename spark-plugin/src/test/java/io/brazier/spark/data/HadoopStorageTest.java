package io.brazier.spark.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.checkpoint.LocalStorage;
import io.brazier.checkpoint.Storage;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.apache.hadoop.conf.Configuration;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Hadoop's file system and the JVM's own do the same for a checkpoint. */
class HadoopStorageTest {
    @TempDir
    Path directory;

    static Stream<Storage> storages() {
        return Stream.of(new LocalStorage(), new HadoopStorage(new Configuration()));
    }

    private String path(String name) {
        return directory.resolve(name).toString();
    }

    private void write(Storage storage, String name, String text) throws IOException {
        try (OutputStream out = storage.create(path(name))) {
            out.write(text.getBytes());
        }
    }

    @ParameterizedTest
    @MethodSource("storages")
    void keepsWhatIsWritten(Storage storage) throws IOException {
        write(storage, "b", "0123456789");
        write(storage, "a", "");
        assertEquals(10, storage.size(path("b")));
        try (InputStream in = storage.openAt(path("b"), 7)) {
            assertArrayEquals("789".getBytes(), in.readAllBytes());
        }
        assertEquals(List.of("a", "b"), storage.list(directory.toString()));
        assertThrows(IOException.class, () -> storage.create(path("b")));
        assertEquals(10, storage.size(path("b")));
        storage.delete(path("b"));
        storage.delete(path("b"));
        assertFalse(storage.exists(path("b")));
        assertThrows(IOException.class, () -> storage.size(path("b")));
        assertThrows(IOException.class, () -> storage.openAt(path("b"), 0));
        assertEquals(List.of(), storage.list(path("none")));
    }

    @ParameterizedTest
    @MethodSource("storages")
    void renamesADirectoryOnlyToWhereNothingIs(Storage storage) throws IOException {
        storage.createDirectories(path("from/deep"));
        storage.createDirectories(path("from/deep"));
        write(storage, "from/deep/x", "1");
        storage.createDirectories(path("taken"));
        assertThrows(IOException.class, () -> storage.rename(path("from"), path("taken")));
        assertEquals(List.of(), storage.list(path("taken")));
        storage.rename(path("from"), path("to"));
        assertFalse(storage.exists(path("from")));
        assertEquals(1, storage.size(path("to/deep/x")));
        assertThrows(IOException.class, () -> storage.rename(path("from"), path("other")));
        storage.delete(path("to"));
        assertFalse(storage.exists(path("to")));
    }

    @ParameterizedTest
    @MethodSource("storages")
    void tellsLinksFromFiles(Storage storage) throws IOException {
        Path file = Files.writeString(directory.resolve("file"), "1");
        Files.createSymbolicLink(directory.resolve("link"), file);
        assertTrue(storage.isLink(path("link")));
        assertFalse(storage.isLink(path("file")));
        assertFalse(storage.isLink(directory.toString()));
    }
}
