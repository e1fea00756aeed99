package io.brazier.cuda;

import static io.brazier.cuda.CudaLibraries.MANAGEMENT;
import static io.brazier.cuda.CudaLibraries.TRAINING;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class CudaLibrariesTest {
    @TempDir
    Path first;

    @TempDir
    Path second;

    private Map<String, Path> found() {
        return CudaLibraries.find(List.of(first, second));
    }

    private String reason(List<String> sonames) {
        return CudaLibraries.missing(sonames, found(), List.of(first, second)).orElse("");
    }

    @Test
    void memoryBesideTheHeapIsNotLimitedByIt() {
        CudaLibraries.unavailable();
        assertEquals(0, Pointer.maxPhysicalBytes());
    }

    @Test
    void aMachineWithoutADriver() {
        assertEquals("no NVIDIA driver: libcuda.so.1 is in none of [" + first + ", " + second + "]", reason(TRAINING));
    }

    @Test
    void aMachineWithADriverAlone() throws IOException {
        Files.createFile(second.resolve("libcuda.so.1"));
        String reason = reason(TRAINING);
        assertTrue(reason.startsWith("an NVIDIA driver, but not libcudart.so.13, libnvrtc.so.13, "), reason);
        assertTrue(reason.contains("libnccl.so.2") && reason.contains(CudaLibraries.PROPERTY), reason);
        assertFalse(reason.contains("libcuda.so.1"), reason);
    }

    @Test
    void theFirstFolderThatHasALibraryGivesIt() throws IOException {
        for (String soname : TRAINING) {
            Files.createFile(second.resolve(soname));
        }
        Files.createFile(first.resolve("libnccl.so.2"));
        assertEquals("", reason(TRAINING));
        assertEquals(first.resolve("libnccl.so.2"), found().get("libnccl.so.2"));
        assertEquals(second.resolve("libcuda.so.1"), found().get("libcuda.so.1"));
    }

    @Test
    void whatTellsOfGpusNeedsNoneOfTheLibrariesThatCompute() throws IOException {
        for (String soname : List.of("libcuda.so.1", "libnvidia-ml.so.1")) {
            Files.createFile(first.resolve(soname));
        }
        assertTrue(
                reason(MANAGEMENT).startsWith("an NVIDIA driver, but not libcudart.so.13 in any of "),
                reason(MANAGEMENT));
        Files.createFile(first.resolve("libcudart.so.13"));
        assertEquals("", reason(MANAGEMENT));
        assertTrue(reason(TRAINING).contains("libnvrtc.so.13"), reason(TRAINING));
    }
}
