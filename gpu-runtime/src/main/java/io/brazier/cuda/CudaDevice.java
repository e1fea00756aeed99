package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR;
import static org.bytedeco.cuda.global.cudart.CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT;
import static org.bytedeco.cuda.global.cudart.cuCtxSetCurrent;
import static org.bytedeco.cuda.global.cudart.cuDeviceGet;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetAttribute;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetCount;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetName;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetPCIBusId;
import static org.bytedeco.cuda.global.cudart.cuDeviceGetUuid;
import static org.bytedeco.cuda.global.cudart.cuDevicePrimaryCtxRelease;
import static org.bytedeco.cuda.global.cudart.cuDevicePrimaryCtxRetain;
import static org.bytedeco.cuda.global.cudart.cuDeviceTotalMem;
import static org.bytedeco.cuda.global.cudart.cuDriverGetVersion;
import static org.bytedeco.cuda.global.cudart.cuInit;

import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.UUID;
import org.bytedeco.cuda.cudart.CUctx_st;
import org.bytedeco.cuda.cudart.CUuuid;
import org.bytedeco.javacpp.SizeTPointer;

/** One GPU with its primary context, which lives until {@link #close}. */
public final class CudaDevice implements AutoCloseable {

    /** Least compute capability: bf16 on tensor cores and asynchronous copies to shared memory. */
    private static final int LEAST_CAPABILITY = 80;

    private final int ordinal;
    private final int handle;
    private final CUctx_st context = new CUctx_st();

    private CudaDevice(int ordinal, int handle) {
        this.ordinal = ordinal;
        this.handle = handle;
    }

    /** Number of GPUs that this process may use. */
    public static int count() {
        CudaLibraries.require();
        check("cuInit", cuInit(0));
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
     * @param address as Spark's resources name it: an index in nvidia-smi's order, by PCI bus, or a UUID, {@code GPU-…}
     * @throws IllegalArgumentException when this process sees no such GPU, or it is too old
     */
    public static CudaDevice open(String address) {
        List<CudaDevice> visible = visible();
        return visible.stream()
                .filter(device -> address.equals("" + visible.indexOf(device)) || address.equals(device.uuid()))
                .findFirst()
                .map(device -> open(device.ordinal))
                .orElseThrow(() -> new IllegalArgumentException(
                        "GPU " + address + " is none of those that this process sees: " + visible));
    }

    /** Without their contexts, by PCI bus: CUDA itself counts the fastest first. */
    private static List<CudaDevice> visible() {
        List<CudaDevice> devices = new ArrayList<>();
        int count = count();
        for (int ordinal = 0; ordinal < count; ordinal++) {
            devices.add(at(ordinal));
        }
        devices.sort(Comparator.comparing(CudaDevice::pciBusId));
        return devices;
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

    /** Domain, bus, device and function, such as {@code 0000:1a:00.0}. */
    private String pciBusId() {
        byte[] id = new byte[32];
        check("cuDeviceGetPCIBusId", cuDeviceGetPCIBusId(id, id.length, handle));
        return text(id);
    }

    private static String text(byte[] terminated) {
        int end = 0;
        while (terminated[end] != 0) {
            end++;
        }
        return new String(terminated, 0, end, StandardCharsets.UTF_8);
    }

    /** As nvidia-smi prints it. */
    public String uuid() {
        try (CUuuid uuid = new CUuuid()) {
            check("cuDeviceGetUuid", cuDeviceGetUuid(uuid, handle));
            long high = 0;
            long low = 0;
            for (int x = 0; x < 8; x++) {
                high = high << 8 | uuid.bytes(x) & 0xFF;
                low = low << 8 | uuid.bytes(x + 8) & 0xFF;
            }
            return "GPU-" + new UUID(high, low);
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
        check("cuDevicePrimaryCtxRelease", cuDevicePrimaryCtxRelease(handle));
    }
}
