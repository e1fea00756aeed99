package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaLibraries;
import java.io.File;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.jar.Attributes;
import java.util.jar.JarOutputStream;
import java.util.jar.Manifest;
import java.util.stream.Collectors;

/** What a process printed that ran with an environment of its own, and how it ended. */
record GpuProcess(int status, String out, String err) {
    private static final long SECONDS = 120;

    List<String> lines() {
        return out.lines().toList();
    }

    /** Runs a main class on the class path of the tests, with the simulated CUDA. */
    static GpuProcess java(Map<String, String> environment, Class<?> main, String... arguments)
            throws IOException, InterruptedException {
        List<String> command = new ArrayList<>();
        command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
        String libraries = System.getProperty(Cudasim.PROPERTY);
        command.add(property(CudaLibraries.PROPERTY, libraries));
        command.add(property(Cudasim.PROPERTY, libraries));
        command.add(cache());
        command.addAll(List.of("-Xmx256m", "-cp", System.getProperty("java.class.path"), main.getName()));
        command.addAll(List.of(arguments));
        return run(environment, command);
    }

    /** Where JavaCPP unpacks: the simulated CUDA never meets a real one there. */
    static String cache() {
        String name = "org.bytedeco.javacpp.cachedir";
        return property(name, System.getProperty(name));
    }

    private static String property(String name, String value) {
        return "-D" + name + "=" + value;
    }

    /**
     * The fat jar where the tests run on it; else a jar in a folder that names the runtime's classes and libraries and none of Spark's,
     * which is what the fat jar will hold.
     */
    static Path runtimeJar(Path folder) throws IOException {
        List<String> classPath = List.of(System.getProperty("java.class.path").split(File.pathSeparator));
        for (String entry : classPath) {
            if (entry.endsWith("-all.jar")) {
                return Path.of(entry);
            }
        }
        String entries = classPath.stream()
                .filter(entry -> !entry.matches(".*/((spark|scala)[^/]*\\.jar|spark-plugin/.*)"))
                .map(entry -> Path.of(entry).toUri().toString())
                .collect(Collectors.joining(" "));
        Manifest manifest = new Manifest();
        manifest.getMainAttributes().put(Attributes.Name.MANIFEST_VERSION, "1.0");
        manifest.getMainAttributes().put(Attributes.Name.CLASS_PATH, entries);
        Path jar = folder.resolve("runtime.jar");
        try (OutputStream out = Files.newOutputStream(jar)) {
            new JarOutputStream(out, manifest).close();
        }
        return jar;
    }

    static GpuProcess run(Map<String, String> environment, List<String> command)
            throws IOException, InterruptedException {
        File out = File.createTempFile("gpu-process", ".out");
        File err = File.createTempFile("gpu-process", ".err");
        try {
            ProcessBuilder builder =
                    new ProcessBuilder(command).redirectOutput(out).redirectError(err);
            builder.environment().keySet().removeIf(name -> name.startsWith("CUDA"));
            builder.environment().putAll(environment);
            Process process = builder.start();
            try {
                assertTrue(process.waitFor(SECONDS, TimeUnit.SECONDS), "the process does not end: " + command);
            } finally {
                process.destroyForcibly();
            }
            return new GpuProcess(process.exitValue(), text(out), text(err));
        } finally {
            Files.delete(out.toPath());
            Files.delete(err.toPath());
        }
    }

    private static String text(File file) throws IOException {
        return Files.readString(file.toPath(), StandardCharsets.UTF_8);
    }
}
