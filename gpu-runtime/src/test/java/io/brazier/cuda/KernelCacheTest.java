package io.brazier.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class KernelCacheTest {
    private static final byte[] CODE = {1, 2, 3};

    @TempDir
    Path directory;

    private static byte[] never() {
        throw new AssertionError("compiled again");
    }

    @Test
    void codeIsKeptForTheOwnerAlone() throws IOException {
        Path folder = directory.resolve("kernels");
        assertArrayEquals(CODE, new KernelCache(folder).get("key", () -> CODE));
        assertArrayEquals(CODE, new KernelCache(folder).get("key", KernelCacheTest::never));
        assertEquals("rwx------", PosixFilePermissions.toString(Files.getPosixFilePermissions(folder)));
        try (Stream<Path> files = Files.list(folder)) {
            assertEquals(List.of(folder.resolve("key.cubin")), files.toList());
        }
    }

    @Test
    void aFolderThatOthersMayWriteToIsRefused() throws IOException {
        Files.setPosixFilePermissions(directory, PosixFilePermissions.fromString("rwxrwx---"));
        String message = assertThrows(IllegalArgumentException.class, () -> new KernelCache(directory))
                .getMessage();
        assertTrue(message.contains(directory.toString()) && message.contains(KernelCache.PROPERTY), message);
    }

    @Test
    void aDiskThatTakesNoMoreCostsTimeAlone() throws IOException {
        Path folder = directory.resolve("kernels");
        KernelCache cache = new KernelCache(folder);
        Files.delete(folder);
        assertArrayEquals(CODE, cache.get("key", () -> CODE));
    }
}
