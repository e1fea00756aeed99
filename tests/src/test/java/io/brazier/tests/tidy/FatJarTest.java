package io.brazier.tests.tidy;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.jar.JarFile;
import java.util.zip.ZipEntry;
import org.junit.jupiter.api.Test;

/** What the fat jar holds, and what it must leave to Spark. */
class FatJarTest {
    /** Whatever lies outside could clash with what Spark or a user's job brings. */
    private static final List<String> ALLOWED = List.of(
            "io/brazier/",
            "ai/djl/",
            "org/bytedeco/dnnl/linux-x86_64/libdnnl.so",
            "org/bytedeco/dnnl/linux-x86_64/libgomp.so",
            "org/bytedeco/cuda/",
            "org/bytedeco/javacpp/",
            "native/lib/linux-x86_64/",
            "native/lib/tokenizers.properties",
            "META-INF/");

    private static Set<String> entries() throws IOException {
        Path jar = Path.of(System.getProperty("brazier.jar", "missing"));
        assumeTrue(Files.exists(jar), "the jar is made by the phase package");
        try (JarFile file = new JarFile(jar.toFile())) {
            Set<String> names = new TreeSet<>();
            file.stream()
                    .filter(entry -> !entry.isDirectory())
                    .map(ZipEntry::getName)
                    .forEach(names::add);
            return names;
        }
    }

    @Test
    void holdsNothingThatCouldClash() throws IOException {
        List<String> others = entries().stream()
                .filter(name -> ALLOWED.stream().noneMatch(name::startsWith))
                .toList();
        assertEquals(List.of(), others);
    }

    @Test
    void holdsWhatSparkDoesNotBring() throws IOException {
        Set<String> entries = entries();
        for (String needed : List.of(
                "io/brazier/Brazier.class",
                "io/brazier/native/linux-x86_64/libbrazier_cpu.so",
                "io/brazier/shaded/picocli/CommandLine.class",
                "io/brazier/shaded/jtokkit/Encodings.class",
                "native/lib/linux-x86_64/cpu/libtokenizers.so",
                "io/brazier/cuda/brazier.cuh",
                "org/bytedeco/cuda/linux-x86_64/libjninccl.so",
                "org/bytedeco/javacpp/linux-x86_64/libjnijavacpp.so",
                "META-INF/services/org.apache.spark.ml.Estimator",
                "META-INF/services/org.apache.spark.ml.Transformer")) {
            assertTrue(entries.contains(needed), needed);
        }
        assertTrue(entries.stream().anyMatch(name -> name.contains("/libdnnl.so")), "oneDNN");
    }
}
