package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The emulator of CUDA threads runs correct kernels correctly, and says of each planted bug what it is and where. */
class EmulatorTest {
    private static final long LIMIT_MINUTES = 5;

    @TempDir
    Path folder;

    @Test
    void kernelsRunAndPlantedBugsAreNamed() throws Exception {
        assertSelfTestPasses("full", "0");
    }

    @Test
    void blocksMayRunInAnyOrder() throws Exception {
        assertSelfTestPasses("full", "7");
    }

    @Test
    void kernelsRunWithoutInstrumentation() throws Exception {
        assertSelfTestPasses("none", "0");
    }

    private void assertSelfTestPasses(String check, String seed) throws Exception {
        Path root = Path.of(System.getProperty("brazier.root"));
        Path selfTest = Path.of(System.getProperty("cudasim.libraries")).resolveSibling("simt/simt_selftest");
        Path output = folder.resolve("output");
        ProcessBuilder builder = new ProcessBuilder(
                        selfTest.toString(),
                        root.resolve("native/cuda").toString(),
                        root.resolve("tests/cudasim/simt/selftest").toString())
                .redirectErrorStream(true)
                .redirectOutput(output.toFile());
        builder.environment().put("CUDASIM_CHECK", check);
        builder.environment().put("CUDASIM_SEED", seed);
        builder.environment().put("CUDASIM_CACHE", folder.resolve("kernels").toString());
        Process process = builder.start();
        try {
            assertTrue(process.waitFor(LIMIT_MINUTES, TimeUnit.MINUTES), "the self-test does not end");
            assertEquals(0, process.exitValue(), Files.readString(output));
        } finally {
            process.destroyForcibly();
        }
    }
}
