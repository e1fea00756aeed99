package io.brazier.cuda;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;

/**
 * NVIDIA's libraries on this machine, loaded once per process by absolute path. The presets' JNI libraries need them by soname, and
 * the system's loader is content with what is loaded already, wherever it came from.
 */
public final class CudaLibraries {

    /** Folders to look in first, as a path list; what is missing there comes from the usual places. */
    public static final String PROPERTY = "brazier.cuda.libraries";

    /** In the order of their needs. */
    static final List<String> SONAMES = List.of(
            "libcuda.so.1",
            "libcudart.so.13",
            "libnvrtc.so.13",
            "libcublasLt.so.13",
            "libcublas.so.13",
            "libnccl.so.2",
            "libnvidia-ml.so.1");

    private static final List<String> USUAL = List.of(
            "/usr/local/nvidia/lib64",
            "/usr/local/cuda/lib64",
            "/usr/local/cuda/targets/x86_64-linux/lib",
            "/usr/lib/x86_64-linux-gnu",
            "/usr/lib64",
            "/usr/lib/wsl/lib");

    private CudaLibraries() {}

    /** Loads the libraries; says in a sentence why CUDA cannot be used, if it cannot. */
    public static Optional<String> unavailable() {
        return Loaded.REASON;
    }

    /** Where each library was found, by soname. */
    public static Map<String, Path> found() {
        return Loaded.PATHS;
    }

    /** @throws IllegalStateException saying why CUDA cannot be used */
    static void require() {
        unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
    }

    /** Puts the path of each library of the folders into found; says what is missing, if anything is. */
    static Optional<String> find(List<Path> folders, Map<String, Path> found) {
        List<String> missing = new ArrayList<>();
        for (String soname : SONAMES) {
            folders.stream()
                    .map(folder -> folder.resolve(soname))
                    .filter(Files::isRegularFile)
                    .findFirst()
                    .ifPresentOrElse(path -> found.put(soname, path), () -> missing.add(soname));
        }
        if (missing.contains(SONAMES.get(0))) {
            return Optional.of("no NVIDIA driver: " + SONAMES.get(0) + " is in none of " + folders);
        }
        return missing.isEmpty()
                ? Optional.empty()
                : Optional.of("an NVIDIA driver, but not " + String.join(", ", missing) + " in any of " + folders
                        + "; install CUDA 13 and NCCL 2, or name their folders in -D" + PROPERTY);
    }

    private static List<Path> folders() {
        Stream<String> named = Stream.of(
                        System.getProperty(PROPERTY, ""), System.getenv().getOrDefault("LD_LIBRARY_PATH", ""))
                .flatMap(list -> Stream.of(list.split(File.pathSeparator)))
                .filter(folder -> !folder.isBlank());
        return Stream.concat(named, USUAL.stream()).map(Path::of).toList();
    }

    private static final class Loaded {
        static final Map<String, Path> PATHS = new LinkedHashMap<>();
        static final Optional<String> REASON = find(folders(), PATHS).or(Loaded::load);

        private static Optional<String> load() {
            for (Path path : PATHS.values()) {
                try {
                    System.load(path.toAbsolutePath().toString());
                } catch (UnsatisfiedLinkError e) {
                    return Optional.of(path + " does not load: " + e.getMessage());
                }
            }
            return Optional.empty();
        }
    }
}
