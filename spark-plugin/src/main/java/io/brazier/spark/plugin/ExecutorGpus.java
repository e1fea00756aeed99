package io.brazier.spark.plugin;

import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaException;
import io.brazier.cuda.CudaLibraries;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.spark.SparkEnv;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The GPUs of this process. Each is opened once and stays open, with its context, compiled kernels and library handles, as long as
 * the process lives; one task at a time has it.
 */
public final class ExecutorGpus {
    private static final Logger LOG = LoggerFactory.getLogger(ExecutorGpus.class);

    /** What the presets were built for, as the driver counts: 1000 major + 10 minor. */
    private static final int LEAST_CUDA = 13_000;

    private static final Map<String, CudaDevice> OPEN = new LinkedHashMap<>();
    private static final Set<String> TAKEN = new HashSet<>();
    private static String lost = "";

    private ExecutorGpus() {}

    /** A GPU in a task's hands. */
    public record Lease(CudaDevice device) implements AutoCloseable {
        @Override
        public void close() {
            synchronized (ExecutorGpus.class) {
                TAKEN.remove(device.uuid());
            }
        }
    }

    /**
     * Opens a GPU, or finds it open.
     *
     * @param address as Spark's resource scheduling gives it: a number, or the UUID of a GPU or MIG instance
     * @throws IllegalStateException saying in a sentence why there is none
     */
    static synchronized CudaDevice open(String address) {
        CudaLibraries.unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
        if (!lost.isEmpty()) {
            throw new IllegalStateException("this process has lost its GPU and must be started anew: " + lost);
        }
        CudaDevice open = OPEN.get(address);
        if (open != null) {
            return open;
        }
        try {
            if (CudaDevice.driverVersion() < LEAST_CUDA) {
                throw new IllegalStateException("the NVIDIA driver serves CUDA " + version(CudaDevice.driverVersion())
                        + ", but " + version(LEAST_CUDA) + " is needed: update the driver");
            }
            CudaDevice device = CudaDevice.open(address);
            LOG.info(
                    "{}, compute capability {}, CUDA {}, at address {}",
                    device,
                    device.computeCapability() / 10.0,
                    version(CudaDevice.driverVersion()),
                    address);
            OPEN.put(address, device);
            return device;
        } catch (CudaException | IllegalArgumentException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    /**
     * Gives a task its GPU.
     *
     * @param address that Spark assigned to the task; in local mode, where Spark assigns none, any that is free is given
     * @throws IllegalStateException saying in a sentence why there is none
     */
    public static synchronized Lease lease(Optional<String> address) {
        CudaDevice device = address.map(ExecutorGpus::open).orElseGet(ExecutorGpus::anyFree);
        if (!TAKEN.add(device.uuid())) {
            throw new IllegalStateException(
                    device + " has another task of this executor: set spark.task.resource.gpu.amount to 1");
        }
        return new Lease(device);
    }

    private static CudaDevice anyFree() {
        if (!"driver".equals(SparkEnv.get().executorId())) {
            throw new IllegalStateException("Spark assigned no GPU to the task: set spark.executor.resource.gpu.amount"
                    + " and spark.task.resource.gpu.amount to 1");
        }
        int ordinal = 0;
        CudaDevice device = open("0");
        while (TAKEN.contains(device.uuid())) {
            device = open("" + ++ordinal);
        }
        return device;
    }

    /**
     * Whether a failure cost this process its GPU: every later call would fail, and so no task may use it again.
     *
     * @param failure with its causes
     */
    public static synchronized boolean isLost(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof CudaException && ((CudaException) cause).sticky()) {
                lost = cause.getMessage();
                return true;
            }
        }
        return false;
    }

    private static String version(int number) {
        return number / 1000 + "." + number % 1000 / 10;
    }
}
