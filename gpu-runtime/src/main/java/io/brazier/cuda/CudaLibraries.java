package io.brazier.cuda;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Stream;

/**
 * NVIDIA's libraries on this machine, loaded once per process by absolute path. The presets' JNI libraries need them by soname, and
 * the system's loader is content with what is loaded already, wherever it came from.
 */
public final class CudaLibraries {

    static {
        // Arenas, pinned buffers and what the driver maps are far more than JavaCPP's limit, four times the Java heap.
        System.getProperties().putIfAbsent("org.bytedeco.javacpp.maxPhysicalBytes", "0");
    }

    /** Folders to look in first, as a path list; what is missing there comes from the usual places. */
    public static final String PROPERTY = "brazier.cuda.libraries";

    private static final String DRIVER = "libcuda.so.1";

    private static final String RUNTIME = "libcudart.so.13";
    private static final String MANAGER = "libnvidia-ml.so.1";

    /** What training needs, in the order of their needs: NCCL opens the driver's manager itself. */
    public static final List<String> TRAINING =
            List.of(DRIVER, RUNTIME, "libnvrtc.so.13", "libcublasLt.so.13", "libcublas.so.13", MANAGER, "libnccl.so.2");

    /** What NVML needs: its preset loads that of the driver first. */
    public static final List<String> MANAGEMENT = List.of(DRIVER, RUNTIME, MANAGER);

    private static final List<String> USUAL = List.of(
            "/usr/local/nvidia/lib64",
            "/usr/local/cuda/lib64",
            "/usr/local/cuda/targets/x86_64-linux/lib",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib64",
            "/usr/lib/wsl/lib");

    /** By soname why a library does not load, or nothing when it has loaded. */
    private static final Map<String, Optional<String>> LOADED = new ConcurrentHashMap<>();

    private CudaLibraries() {}

    /** Loads what training needs; says in a sentence why CUDA cannot be used, if it cannot. */
    public static Optional<String> unavailable() {
        return unavailable(TRAINING);
    }

    /**
     * Loads some of the libraries, or none if one is missing; says in a sentence why they cannot be used, if they cannot.
     *
     * @param sonames in the order of their needs
     */
    public static Optional<String> unavailable(List<String> sonames) {
        return missing(sonames, Found.PATHS, Found.FOLDERS).or(() -> sonames.stream()
                .map(soname -> LOADED.computeIfAbsent(soname, CudaLibraries::load))
                .flatMap(Optional::stream)
                .findFirst());
    }

    /** Where each library was found, by soname, loaded or not. */
    public static Map<String, Path> found() {
        return Found.PATHS;
    }

    /** @throws IllegalStateException saying why CUDA cannot be used */
    static void require() {
        unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
    }

    /** The path of each library that is in one of the folders, from the first that has it. */
    static Map<String, Path> find(List<Path> folders) {
        Map<String, Path> found = new LinkedHashMap<>();
        for (String soname : TRAINING) {
            find(folders, soname).ifPresent(path -> found.put(soname, path));
        }
        return found;
    }

    private static Optional<Path> find(List<Path> folders, String soname) {
        return folders.stream()
                .map(folder -> folder.resolve(soname))
                .filter(Files::isRegularFile)
                .findFirst();
    }

    /** The path of a library that nobody needs, where there is one. */
    static Optional<Path> find(String soname) {
        return find(Found.FOLDERS, soname);
    }

    /** Says what is missing of some libraries, if anything is. */
    static Optional<String> missing(List<String> sonames, Map<String, Path> found, List<Path> folders) {
        List<String> missing = new ArrayList<>(sonames);
        missing.removeAll(found.keySet());
        if (missing.contains(DRIVER)) {
            return Optional.of("no NVIDIA driver: " + DRIVER + " is in none of " + folders);
        }
        return missing.isEmpty()
                ? Optional.empty()
                : Optional.of("an NVIDIA driver, but not " + String.join(", ", missing) + " in any of " + folders
                        + "; install CUDA 13 and NCCL 2, or name their folders in -D" + PROPERTY);
    }

    private static Optional<String> load(String soname) {
        Path path = Found.PATHS.get(soname);
        try {
            System.load(path.toAbsolutePath().toString());
            return Optional.empty();
        } catch (UnsatisfiedLinkError e) {
            return Optional.of(path + " does not load: " + e.getMessage());
        }
    }

    /** Looked for when first needed: a test names its folder before that. */
    private static final class Found {
        static final List<Path> FOLDERS = folders();
        static final Map<String, Path> PATHS = find(FOLDERS);

        private static List<Path> folders() {
            Stream<String> named = Stream.of(
                            System.getProperty(PROPERTY, ""), System.getenv().getOrDefault("LD_LIBRARY_PATH", ""))
                    .flatMap(list -> Stream.of(list.split(File.pathSeparator)))
                    .filter(folder -> !folder.isBlank());
            return Stream.concat(named, USUAL.stream()).map(Path::of).toList();
        }
    }
}
