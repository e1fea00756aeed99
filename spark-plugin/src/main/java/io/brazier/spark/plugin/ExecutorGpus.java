package io.brazier.spark.plugin;

import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaException;
import io.brazier.cuda.CudaLibraries;
import io.brazier.cuda.CudaVersions;
import io.brazier.cuda.Nvml;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.apache.spark.SparkEnv;
import org.apache.spark.TaskContext;
import org.apache.spark.resource.ResourceInformation;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The GPUs of this process. Each is opened once and stays open, with its context, compiled kernels and library handles, as long as
 * the process lives; one task at a time has it.
 */
public final class ExecutorGpus {
    private static final Logger LOG = LoggerFactory.getLogger(ExecutorGpus.class);

    /** Exit status of an executor whose GPU is lost to it: EX_OSERR of sysexits. */
    private static final int GPU_LOST = 71;

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
            if (CudaDevice.driverVersion() < CudaDevice.LEAST_CUDA) {
                throw new IllegalStateException(
                        "the NVIDIA driver serves CUDA " + CudaVersions.cuda(CudaDevice.driverVersion()) + ", but "
                                + CudaVersions.cuda(CudaDevice.LEAST_CUDA) + " is needed: update the driver");
            }
            CudaDevice device = CudaDevice.open(address);
            LOG.info(
                    "{}, compute capability {}, CUDA {}, at address {}",
                    device,
                    device.computeCapability() / 10.0,
                    CudaVersions.cuda(CudaDevice.driverVersion()),
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

    /** The GPU that Spark assigned to a task. */
    public static Optional<String> assigned(TaskContext task) {
        ResourceInformation gpu = task.resourcesJMap().get("gpu");
        return gpu == null ? Optional.empty() : Stream.of(gpu.addresses()).findFirst();
    }

    private static CudaDevice anyFree() {
        if (!isLocal()) {
            throw new IllegalStateException("Spark assigned no GPU to the task: set spark.executor.resource.gpu.amount"
                    + " and spark.task.resource.gpu.amount to 1");
        }
        for (String address : usable()) {
            CudaDevice device = open(address);
            if (!TAKEN.contains(device.uuid())) {
                return device;
            }
        }
        throw new IllegalStateException("each GPU that this process may use has a task: " + OPEN.values());
    }

    private static List<String> usable() {
        try {
            return Nvml.addresses();
        } catch (CudaException | IllegalArgumentException e) {
            throw new IllegalStateException(e.getMessage(), e);
        }
    }

    /**
     * After an error that costs the process its context every later call fails: no task of this process gets a GPU any more, and an
     * executor ends, so that Spark starts another.
     *
     * @param failure with its causes
     */
    public static void endIfLost(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause instanceof CudaException && ((CudaException) cause).sticky()) {
                synchronized (ExecutorGpus.class) {
                    lost = cause.getMessage();
                }
                if (!isLocal()) {
                    LOG.error("This executor has lost its GPU and ends: {}", cause.getMessage());
                    Runtime.getRuntime().halt(GPU_LOST);
                }
            }
        }
    }

    private static boolean isLocal() {
        return "driver".equals(SparkEnv.get().executorId());
    }
}
