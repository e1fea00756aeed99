package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.host.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** Loading, observed in JVMs of their own. */
class CpuLibraryTest {

    /** Prints the instruction set, or the reason why there is none. */
    public static final class Probe {
        public static void main(String[] arguments) {
            System.out.println(NativeLibrary.availability().reason().orElseGet(CpuNative::isa));
        }
    }

    private static Process probe(Path directory, String isa) throws IOException {
        String classPath = System.getProperty("surefire.test.class.path", System.getProperty("java.class.path"));
        ProcessBuilder builder = new ProcessBuilder(
                        Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                        "-cp",
                        classPath,
                        Probe.class.getName())
                .redirectErrorStream(true);
        builder.environment().put("BRAZIER_NATIVE_DIR", directory.toString());
        builder.environment().put("BRAZIER_CPU_ISA", isa);
        return builder.start();
    }

    private static String output(Process process) throws IOException {
        return new String(process.getInputStream().readAllBytes(), java.nio.charset.StandardCharsets.UTF_8).strip();
    }

    @Test
    void jvmsRaceForTheFilesAndDamageIsRepaired(@TempDir Path temporary) throws IOException {
        Path directory = temporary.resolve("native");
        List<Process> racing = new ArrayList<>();
        for (int x = 0; x < 3; x++) {
            racing.add(probe(directory, "portable"));
        }
        for (Process process : racing) {
            assertEquals("portable", output(process));
        }
        try (var files = Files.walk(directory)) {
            List<Path> libraries = files.filter(Files::isRegularFile).toList();
            assertEquals(4, libraries.size(), libraries.toString());
            for (Path library : libraries) {
                Files.write(library, new byte[] {1, 2, 3});
            }
        }
        assertEquals("portable", output(probe(directory, "portable")));
    }

    @Test
    void refusalsAreReasons(@TempDir Path temporary) throws IOException {
        Path open = Files.createDirectory(
                temporary.resolve("open"),
                PosixFilePermissions.asFileAttribute(PosixFilePermissions.fromString("rwxr-xr-x")));
        String reason = output(probe(open, "portable"));
        assertTrue(reason.contains("0700") && reason.contains("BRAZIER_NATIVE_DIR"), reason);
        reason = output(probe(temporary.resolve("own"), "mmx"));
        assertTrue(reason.contains("BRAZIER_CPU_ISA=mmx"), reason);
    }
}
