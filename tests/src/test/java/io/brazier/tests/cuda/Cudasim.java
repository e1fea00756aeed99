package io.brazier.tests.cuda;

import io.brazier.cuda.CudaLibraries;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;

/**
 * The simulated CUDA of the tests: stand-ins for NVIDIA's libraries that load under the real presets, run kernels on the processor
 * and check what is asked of them. What passes on it has run on no GPU.
 */
public final class Cudasim {
    /** Names the folder of the stand-ins. */
    static final String PROPERTY = "cudasim.libraries";

    private static final String FOLDER = System.getProperty(PROPERTY);

    static {
        System.setProperty(CudaLibraries.PROPERTY, FOLDER);
        System.load(Path.of(FOLDER, "libcuda.so.1").toString());
        CudaLibraries.unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
    }

    private Cudasim() {}

    /** Makes this process use the simulated libraries; the first use of this class does. */
    public static void load() {}

    /** The nth call of a function from now on fails with a code of its library. */
    public static native void failCall(String function, long nth, int code);

    public static native void clearFaults();

    /** What programs did wrong since the last call. */
    public static native String[] takeViolations();

    /** Ranges of NVTX that all threads opened ({@code +name}) and closed ({@code -}) since the last call. */
    public static native String[] takeRanges();

    /** Calls of a function so far. */
    public static native long calls(String function);

    private static native String[] called();

    /** Calls so far of each function that was called, by name. */
    public static Map<String, Long> calls() {
        Map<String, Long> calls = new TreeMap<>();
        for (String function : called()) {
            calls.put(function, calls(function));
        }
        return calls;
    }

    /** Crosses from Java and back. */
    public static native void nothing();

    /** Allocations of a device that nobody has freed. */
    public static native long liveAllocations(int device);
}
