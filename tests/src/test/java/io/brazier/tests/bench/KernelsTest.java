package io.brazier.tests.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

/**
 * NVIDIA's compiler takes every kernel as it is, and says what docs/bench/kernels.md says; -Dgolden.update=true rewrites the page. In
 * a process of its own, since this one has the simulated compiler loaded.
 */
class KernelsTest {
    private static final Path ROOT =
            Path.of(System.getProperty("brazier.root")).toAbsolutePath().normalize();

    @Test
    void kernelsCompileForAnH100AsTheirPageSays() throws IOException, InterruptedException {
        // Says which command fetches the compiler where it is missing.
        KernelResources.Tools.in(ROOT);
        Path out = Files.createTempFile("brazier", ".md");
        try {
            Process bench = new ProcessBuilder(command())
                    .redirectOutput(out.toFile())
                    .redirectError(ProcessBuilder.Redirect.INHERIT)
                    .start();
            assertTrue(bench.waitFor(300, TimeUnit.SECONDS), "compiling took over 300 s");
            assertEquals(0, bench.exitValue());
            assertEquals(
                    Files.readString(ROOT.resolve("docs/bench/kernels.md"), StandardCharsets.UTF_8),
                    Files.readString(out));
        } finally {
            Files.delete(out);
        }
    }

    private static List<String> command() {
        List<String> command = new ArrayList<>(List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Dbrazier.root=" + ROOT,
                "-cp",
                System.getProperty("java.class.path"),
                KernelsBench.class.getName()));
        if (Boolean.getBoolean("golden.update")) {
            command.add("--write");
        }
        return command;
    }
}
