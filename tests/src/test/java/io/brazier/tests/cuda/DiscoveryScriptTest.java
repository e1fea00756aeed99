package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.attribute.PosixFilePermissions;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.spark.resource.ResourceInformation;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The script bin/gpu-discovery, copied to a folder of its own as nodes have it. */
class DiscoveryScriptTest {
    private static final Path SOURCE = Path.of(System.getProperty("brazier.root"), "bin/gpu-discovery");

    @TempDir
    Path folder;

    private final Map<String, String> environment = new TreeMap<>();
    private Path script;

    @BeforeEach
    void copy() throws IOException {
        script = Files.createDirectories(folder.resolve("node")).resolve("gpu-discovery");
        Files.copy(SOURCE, script, StandardCopyOption.COPY_ATTRIBUTES);
        environment.put("SPARK_HOME", folder.resolve("spark").toString());
        environment.put("BRAZIER_JAR", "");
        environment.put("CUDASIM_DEVICES", "2");
    }

    private GpuProcess run() throws IOException, InterruptedException {
        return GpuProcess.run(environment, List.of(script.toString()));
    }

    /** In place of Java a script that tells which class path it was given. */
    private void fakeJava() throws IOException {
        Path java = Files.createDirectories(folder.resolve("jdk/bin")).resolve("java");
        Files.writeString(java, "#!/bin/sh\nwhile [ \"$1\" != -cp ]; do shift; done\nprintf '%s\\n' \"$2\" \"$3\"\n");
        Files.setPosixFilePermissions(java, PosixFilePermissions.fromString("rwxr-xr-x"));
        environment.put("JAVA_HOME", folder.resolve("jdk").toString());
    }

    private Path jar(String name) throws IOException {
        Path jar = folder.resolve(name);
        Files.createDirectories(jar.getParent());
        return Files.createFile(jar);
    }

    private void runsWith(Path jar) throws IOException, InterruptedException {
        GpuProcess process = run();
        assertEquals(List.of(jar.toString(), "io.brazier.cuda.GpuAddresses"), process.lines(), process.err());
    }

    @Test
    void theJarIsNamedOrBesideTheScriptOrInSpark() throws Exception {
        fakeJava();
        GpuProcess none = run();
        assertEquals(1, none.status());
        assertEquals("", none.out());
        assertTrue(
                none.err().startsWith("gpu-discovery: no jar of Brazier")
                        && none.err().lines().count() == 1,
                none.err());
        jar("spark/jars/brazier-spark-plugin-1.0.jar");
        runsWith(jar("spark/jars/brazier-spark-plugin-1.0-all.jar"));
        runsWith(jar("node/brazier.jar"));
        Path named = jar("elsewhere/my brazier.jar");
        environment.put("BRAZIER_JAR", named.toString());
        runsWith(named);
        Files.delete(named);
        assertEquals(
                "gpu-discovery: BRAZIER_JAR=" + named + " is no file",
                run().err().strip());
    }

    private void announcesSimulatedGpus(Path jar) throws IOException, InterruptedException {
        environment.put("JAVA_HOME", System.getProperty("java.home"));
        environment.put("BRAZIER_JAR", jar.toString());
        environment.put("LD_LIBRARY_PATH", System.getProperty("cudasim.libraries"));
        environment.put("JDK_JAVA_OPTIONS", GpuProcess.cache());
        GpuProcess process = run();
        assertEquals(0, process.status(), process.err());
        ResourceInformation found = ResourceInformation.parseJson(process.out());
        assertEquals("gpu", found.name());
        assertEquals(
                List.of("GPU-51a7ed00-c0da-51b0-8000-000000000000", "GPU-51a7ed01-c0da-51b0-8000-000000000001"),
                List.of(found.addresses()));
        environment.put("CUDASIM_DEVICES", "0");
        GpuProcess none = run();
        assertEquals(1, none.status());
        assertEquals("", none.out());
        assertTrue(none.err().endsWith("gpu-discovery: an NVIDIA driver, but no GPU\n"), none.err());
    }

    @Test
    void sparkReadsWhatItPrints() throws Exception {
        announcesSimulatedGpus(GpuProcess.runtimeJar(folder));
    }

    @Test
    void theFatJarAloneSuffices() throws Exception {
        Path jar = Path.of(System.getProperty("brazier.jar", "missing"));
        assumeTrue(Files.exists(jar), "the jar is made by the phase package");
        announcesSimulatedGpus(jar);
    }
}
