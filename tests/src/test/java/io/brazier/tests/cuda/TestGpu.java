package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaLibraries;
import java.nio.file.Path;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/**
 * The GPUs that tests of CUDA run on: simulated ones, or under the Maven profile gpu the machine's own. That profile runs the tests with
 * the tag of this class alone; what needs the simulation's controls lacks it, or skips itself.
 */
public final class TestGpu {
    /** Tag of what runs on the machine's own GPUs too. */
    public static final String TAG = "gpu";

    /** What nothing may write around an operand; the simulation itself keeps gaps between allocations, and reports what touches them. */
    private static final int GUARD_BYTES = 256;

    private static final Map<Integer, CudaDevice> DEVICES = new ConcurrentHashMap<>();

    private TestGpu() {}

    /** A GPU that stays open as long as the process, as an executor's does: its kernels are loaded once. */
    public static CudaDevice device(int ordinal) {
        CudaDevice device = DEVICES.computeIfAbsent(ordinal, CudaDevice::open);
        device.bind();
        return device;
    }

    private static boolean simulated() {
        return System.getProperty(Cudasim.PROPERTY) != null;
    }

    /** Makes a program that Maven did not start use the simulated CUDA that the build left. */
    public static void simulate() {
        Path folder = Path.of(System.getProperty("brazier.root"), "tests", "target", "cudasim");
        System.setProperty(Cudasim.PROPERTY, folder.resolve("lib").toString());
        System.setProperty("brazier.cuda.cache", folder.resolve("kernels").toString());
        System.setProperty(
                "org.bytedeco.javacpp.cachedir", folder.resolve("javacpp").toString());
        load();
    }

    /** Makes this process use the libraries of its GPUs. */
    public static void load() {
        if (simulated()) {
            Cudasim.load();
            Cudasim.takeViolations();
            return;
        }
        CudaLibraries.unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
    }

    /** Skips a test for which the machine has too few GPUs of its own. NCCL refuses two ranks on one. */
    public static void assumeDevices(int count) {
        assumeTrue(
                simulated() || CudaDevice.count() >= count,
                () -> count + " ranks need a GPU each, this machine has " + CudaDevice.count());
    }

    /** Skips a test that counts calls or plants errors. */
    public static void assumeSimulated() {
        assumeTrue(simulated(), "this needs the simulated CUDA");
    }

    /** Bytes before and behind each operand that a test is to watch. */
    public static int guardBytes() {
        return simulated() ? 0 : GUARD_BYTES;
    }

    /** Fails where the simulation found something wrong with what was done. */
    public static void assertNoViolations(String what) {
        if (simulated()) {
            assertArrayEquals(new String[0], Cudasim.takeViolations(), what);
        }
    }

    /** Fails where the simulation holds memory of the first so many devices. */
    public static void assertNothingIsLeft(int numDevices) {
        for (int device = 0; simulated() && device < numDevices; device++) {
            assertEquals(0, Cudasim.liveAllocations(device), "left on device " + device);
        }
    }
}
