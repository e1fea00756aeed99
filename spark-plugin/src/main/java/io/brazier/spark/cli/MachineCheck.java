package io.brazier.spark.cli;

import io.brazier.cpu.CpuNative;
import io.brazier.host.NativeLibrary;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/** What training needs of the machine that doctor runs on. */
final class MachineCheck {
    private static final double GIB = 1L << 30;
    private static final double PROBE_SECONDS = 0.2;

    private MachineCheck() {}

    static List<Finding> run() {
        List<Finding> findings = new ArrayList<>();
        findings.add(java());
        findings.add(spark());
        nativeLibrary(findings);
        findings.add(memory());
        findings.add(hugePages());
        findings.add(sharedMemory());
        findings.addAll(GpuCheck.run());
        return findings;
    }

    private static Finding java() {
        int feature = Runtime.version().feature();
        String text = "Java " + Runtime.version();
        return feature == 17 || feature == 21
                ? Finding.ok("java", text)
                : Finding.fail("java", text, "run driver and executors on Java 17 or 21");
    }

    private static Finding spark() {
        String version = org.apache.spark.package$.MODULE$.SPARK_VERSION();
        return version.startsWith("4.") || version.startsWith("3.5.")
                ? Finding.ok("spark", "Spark " + version)
                : Finding.warn("spark", "Spark " + version + " is not one that is tested", "use Spark 3.5 or 4");
    }

    private static void nativeLibrary(List<Finding> findings) {
        NativeLibrary.Availability availability = NativeLibrary.availability();
        if (!availability.available()) {
            findings.add(Finding.fail(
                    "native library",
                    availability.reason().orElse("not loaded"),
                    "use the jar built for this platform, and let BRAZIER_NATIVE_DIR name a directory of your own"
                            + " that may hold executables"));
            return;
        }
        findings.add(Finding.ok("native library", "loaded"));
        int numThreads = Runtime.getRuntime().availableProcessors();
        CpuNative.setNumThreads(1);
        double roof = CpuNative.measureFmaFlops(PROBE_SECONDS);
        String speed = String.format(
                Locale.ROOT,
                "%s kernels, %d threads, %.0f GFLOP/s of fp32 on one",
                CpuNative.isa(),
                numThreads,
                roof / 1e9);
        findings.add(
                CpuNative.isa().equals("portable")
                        ? Finding.warn("cpu", speed, "expect a fraction of the speed: AVX2 or AVX-512 is missing")
                        : Finding.ok("cpu", speed));
        findings.add(oneDnn());
    }

    private static Finding oneDnn() {
        try {
            long product = CpuNative.matmulCreate(256, 768, 768, false, false, true, false, CpuNative.ACTIVATION_GELU);
            try {
                return Finding.ok("matrix products", "oneDNN " + CpuNative.matmulImplementation(product));
            } finally {
                CpuNative.matmulDestroy(product);
            }
        } catch (IllegalStateException e) {
            return Finding.fail(
                    "matrix products", e.getMessage(), "remove ONEDNN_MAX_CPU_ISA from the environment if it is set");
        }
    }

    private static Finding memory() {
        double heap = Runtime.getRuntime().maxMemory() / GIB;
        String text = read("/proc/meminfo");
        Matcher available = Pattern.compile("MemAvailable: +(\\d+) kB").matcher(text);
        if (!available.find()) {
            return Finding.warn("memory", "unknown", "look at it before training");
        }
        double free = Long.parseLong(available.group(1)) * 1024 / GIB;
        String found =
                String.format(Locale.ROOT, "%.1f GiB available, of which the Java heap may take %.1f", free, heap);
        return free - heap > 1
                ? Finding.ok("memory", found)
                : Finding.warn(
                        "memory",
                        found,
                        "weights, gradients and optimizer live outside the heap: lower spark.driver.memory or"
                                + " spark.executor.memory");
    }

    private static Finding hugePages() {
        String text = read("/sys/kernel/mm/transparent_hugepage/enabled").strip();
        return text.contains("[always]") || text.contains("[madvise]")
                ? Finding.ok("huge pages", text)
                : Finding.warn(
                        "huge pages",
                        text.isEmpty() ? "unknown" : text,
                        "echo madvise > /sys/kernel/mm/transparent_hugepage/enabled makes large models faster");
    }

    private static Finding sharedMemory() {
        Path directory = Path.of("/dev/shm");
        try {
            double free = Files.getFileStore(directory).getUsableSpace() / GIB;
            String text = String.format(Locale.ROOT, "%.2f GiB free in %s", free, directory);
            return free >= 0.25 && Files.isWritable(directory)
                    ? Finding.ok("shared memory", text)
                    : Finding.warn(
                            "shared memory",
                            text,
                            "ranks of one host exchange gradients through it: give the container 256 MiB or more"
                                    + " (docker --shm-size, an emptyDir of medium Memory)");
        } catch (IOException e) {
            return Finding.warn("shared memory", directory + " is missing", "mount a tmpfs there");
        }
    }

    private static String read(String file) {
        try {
            return Files.readString(Path.of(file));
        } catch (IOException e) {
            return ""; // each caller says what it could not find out
        }
    }
}
