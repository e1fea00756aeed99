package io.brazier.cuda;

import io.brazier.host.NativeLibrary;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Ranges by module path on a profiler's time line, through NVIDIA's NVTX. A profiler that wants ranges names its library in an
 * environment variable; where it is not set nothing is loaded, and a launch costs the test of a constant more.
 */
final class Ranges {
    private static final Logger LOG = LoggerFactory.getLogger(Ranges.class);
    private static final String PROFILER = "NVTX_INJECTION64_PATH";
    private static final String LIBRARY = "libnvtx3interop.so.1";

    /** Whether a profiler takes ranges. */
    static final boolean ON = System.getenv().containsKey(PROFILER) && open();

    private final List<String> open = new ArrayList<>();

    private static boolean open() {
        Optional<Path> path = CudaLibraries.find(LIBRARY);
        NativeLibrary.require();
        if (path.isPresent() && load(path.get().toAbsolutePath().toString())) {
            return true;
        }
        LOG.warn(
                "{} is set, so a profiler wants ranges, but {}; it will see kernels without the modules that launch them. Install"
                        + " NVIDIA's package cuda-nvtx, or name the library's folder in -D{}",
                PROFILER,
                path.map(found -> found + " does not load").orElse(LIBRARY + " was not found"),
                CudaLibraries.PROPERTY);
        return false;
    }

    /** A range of a name around what runs. */
    static Runnable around(String name, Runnable inner) {
        return !ON
                ? inner
                : () -> {
                    push(name);
                    try {
                        inner.run();
                    } finally {
                        pop();
                    }
                };
    }

    /** Closes and opens ranges until those of a module and of the modules around it are open, and no others of this object. */
    void enter(String module) {
        List<String> wanted = new ArrayList<>();
        for (int end = module.indexOf('.'); end >= 0; end = module.indexOf('.', end + 1)) {
            wanted.add(module.substring(0, end));
        }
        wanted.add(module);
        int common = 0;
        while (common < Math.min(open.size(), wanted.size()) && open.get(common).equals(wanted.get(common))) {
            common++;
        }
        close(common);
        for (String name : wanted.subList(common, wanted.size())) {
            push(name);
            open.add(name);
        }
    }

    /** Closes all that {@link #enter} opened. */
    void leave() {
        close(0);
    }

    private void close(int remaining) {
        while (open.size() > remaining) {
            pop();
            open.remove(open.size() - 1);
        }
    }

    private static native boolean load(String path);

    private static native void push(String name);

    private static native void pop();
}
