package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_CLOCK_RATE;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
import static org.bytedeco.cuda.global.cudart.cuCtxSetCurrent;
import static org.bytedeco.cuda.global.cudart.cuDeviceGet;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetAttribute;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetCount;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetName;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetUuid;
import static org.bytedeco.cuda.global.cudart.cuDevicePrimaryCtxRelease;
import static org.bytedeco.cuda.global.cudart.cuDevicePrimaryCtxRetain;
import static org.bytedeco.cuda.global.cudart.cuDeviceTotalMem;
import static org.bytedeco.cuda.global.cudart.cuDriverGetVersion;
import static org.bytedeco.cuda.global.cudart.cuInit;

import io.brazier.host.NativeEnvironment;
import io.brazier.tensor.DType;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.UUID;
import java.util.stream.IntStream;
import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUuuid;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * One GPU with its primary context, which lives until {@link #close}, and so do compiled kernels and the handle of cuBLASLt: a process
 * that trains again finds them ready.
 */
public final class CudaDevice implements AutoCloseable {

    /** Least compute capability, times ten: bf16 on tensor cores and asynchronous copies to shared memory. */
    public static final int LEAST_CAPABILITY = 80;

    /** Least CUDA version that the driver serves, as {@link #driverVersion} counts: the libraries are those of CUDA 13. */
    public static final int LEAST_CUDA = 13_000;

    /** Whether CUDA has read the environment. */
    private static boolean initialized;

    private final int ordinal;
    private final int handle;
    private final CUctx_st context = new CUctx_st();
    private CudaKernels kernels;
    private CudaProduct.Library products;

    private CudaDevice(int ordinal, int handle) {
        this.ordinal = ordinal;
        this.handle = handle;
    }

    /** Number of GPUs that this process may use. */
    public static int count() {
        CudaLibraries.require();
        initialize();
        int[] count = new int[1];
        check("cuDeviceGetCount", cuDeviceGetCount(count));
        return count[0];
    }

    /**
     * @param ordinal among the GPUs that this process may use
     * @throws IllegalArgumentException when there is no such GPU, or it is too old
     */
    public static CudaDevice open(int ordinal) {
        int count = count();
        if (ordinal < 0 || ordinal >= count) {
            throw new IllegalArgumentException("GPU " + ordinal + " of " + count + " GPUs that this process may use");
        }
        CudaDevice device = at(ordinal);
        if (device.computeCapability() < LEAST_CAPABILITY) {
            throw new IllegalArgumentException(device + " has compute capability " + device.computeCapability() / 10.0
                    + ", at least " + LEAST_CAPABILITY / 10.0 + " is needed");
        }
        check("cuDevicePrimaryCtxRetain", cuDevicePrimaryCtxRetain(device.context, device.handle));
        device.bind();
        return device;
    }

    /**
     * Opens the GPU of an address, as Spark's resources name them. On a machine with GPUs in MIG mode CUDA shows a process one MIG
     * instance or whole GPUs, and which ones is settled when it is first used: what is opened before that is named to CUDA here, what
     * is opened later may not be seen.
     *
     * @param address an index in nvidia-smi's order, by PCI bus, whatever CUDA_VISIBLE_DEVICES says; or a UUID, {@code GPU-…} or
     *     {@code MIG-…}
     * @throws IllegalArgumentException when this process sees no such GPU, or it is too old
     * @throws IllegalStateException saying why there is no CUDA
     */
    public static CudaDevice open(String address) {
        CudaLibraries.require();
        return open(CudaAddresses.ordinal(address));
    }

    /** The GPUs that this process sees, without their contexts. */
    static List<CudaDevice> visible() {
        return IntStream.range(0, count()).mapToObj(CudaDevice::at).toList();
    }

    /** Names to CUDA what this process uses, unless CUDA has been used already. */
    static synchronized void showOnly(String uuids) {
        if (!initialized) {
            NativeEnvironment.set(GpuInventory.VISIBLE, uuids);
        }
    }

    private static synchronized void initialize() {
        initialized = true;
        check("cuInit", cuInit(0));
    }

    private static CudaDevice at(int ordinal) {
        int[] handle = new int[1];
        check("cuDeviceGet", cuDeviceGet(handle, ordinal));
        return new CudaDevice(ordinal, handle[0]);
    }

    public int ordinal() {
        return ordinal;
    }

    public String name() {
        byte[] name = new byte[256];
        check("cuDeviceGetName", cuDeviceGetName(name, name.length, handle));
        return text(name);
    }

    private static String text(byte[] terminated) {
        int end = 0;
        while (terminated[end] != 0) {
            end++;
        }
        return new String(terminated, 0, end, StandardCharsets.UTF_8);
    }

    /** As nvidia-smi prints it: {@code MIG-…} for an instance, which CUDA tells by its name alone. */
    public String uuid() {
        try (CUuuid uuid = new CUuuid()) {
            check("cuDeviceGetUuid", cuDeviceGetUuid(uuid, handle));
            long high = 0;
            long low = 0;
            for (int x = 0; x < 8; x++) {
                high = high << 8 | uuid.bytes(x) & 0xFF;
                low = low << 8 | uuid.bytes(x + 8) & 0xFF;
            }
            return (name().contains(" MIG ") ? "MIG-" : "GPU-") + new UUID(high, low);
        }
    }

    /** Ten times the compute capability: 90 for 9.0. */
    public int computeCapability() {
        return 10 * attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)
                + attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR);
    }

    public int numMultiprocessors() {
        return attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT);
    }

    public long totalBytes() {
        try (SizeTPointer bytes = new SizeTPointer(1)) {
            check("cuDeviceTotalMem", cuDeviceTotalMem(bytes, handle));
            return bytes.get();
        }
    }

    /** The newest CUDA version that the driver serves, 1000 major + 10 minor. */
    public static int driverVersion() {
        int[] version = new int[1];
        check("cuDriverGetVersion", cuDriverGetVersion(version));
        return version[0];
    }

    /** The kernels that were loaded so far, and those to come. This device must be bound. */
    synchronized CudaKernels kernels() {
        if (kernels == null) {
            kernels = new CudaKernels(new KernelCompiler(computeCapability(), KernelCache.ofUser()));
        }
        return kernels;
    }

    /** What makes products. This device must be bound. */
    synchronized CudaProduct.Library products() {
        if (products == null) {
            products = new CudaProduct.Library();
        }
        return products;
    }

    /**
     * Dense products at the clock that the driver names, FLOP/s: f32 on CUDA cores, bf16 on tensor cores. Figures of one
     * multiprocessor and cycle are those of NVIDIA's architecture white papers.
     */
    public double peakFlops(DType dtype) {
        double clock = 1e3 * attribute(CU_DEVICE_ATTRIBUTE_CLOCK_RATE);
        int capability = computeCapability();
        double perCycle =
                switch (dtype) {
                    case BF16 -> capability >= 100 ? 8192 : capability >= 90 ? 4096 : capability == 80 ? 2048 : 1024;
                    default -> capability == 80 ? 128 : 256;
                };
        return numMultiprocessors() * clock * perCycle;
    }

    private int attribute(int attribute) {
        int[] value = new int[1];
        check("cuDeviceGetAttribute", cuDeviceGetAttribute(value, attribute, handle));
        return value[0];
    }

    /** Makes this the calling thread's device. */
    public void bind() {
        check("cuCtxSetCurrent", cuCtxSetCurrent(context));
    }

    @Override
    public String toString() {
        return "GPU " + ordinal + " (" + name() + ", " + uuid() + ")";
    }

    @Override
    public void close() {
        bind();
        if (kernels != null) {
            kernels.close();
        }
        if (products != null) {
            products.close();
        }
        check("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease(handle));
    }
}
