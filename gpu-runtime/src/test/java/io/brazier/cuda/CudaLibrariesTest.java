package io.brazier.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CudaLibrariesTest {
    @TempDir
    Path first;

    @TempDir
    Path second;

    private final Map<String, Path> found = new LinkedHashMap<>();

    private String reason() {
        return CudaLibraries.find(List.of(first, second), found).orElse("");
    }

    @Test
    void aMachineWithoutADriver() {
        assertEquals("no NVIDIA driver: libcuda.so.1 is in none of [" + first + ", " + second + "]", reason());
    }

    @Test
    void aMachineWithADriverAlone() throws IOException {
        Files.createFile(second.resolve("libcuda.so.1"));
        String reason = reason();
        assertTrue(reason.startsWith("an NVIDIA driver, but not libcudart.so.13, libnvrtc.so.13, "), reason);
        assertTrue(reason.contains("libnccl.so.2") && reason.contains(CudaLibraries.PROPERTY), reason);
        assertFalse(reason.contains("libcuda.so.1"), reason);
    }

    @Test
    void theFirstFolderThatHasALibraryGivesIt() throws IOException {
        for (String soname : CudaLibraries.SONAMES) {
            Files.createFile(second.resolve(soname));
        }
        Files.createFile(first.resolve("libnccl.so.2"));
        assertEquals("", reason());
        assertEquals(first.resolve("libnccl.so.2"), found.get("libnccl.so.2"));
        assertEquals(second.resolve("libcuda.so.1"), found.get("libcuda.so.1"));
    }
}
