package io.brazier.cuda;

import static org.bytedeco.cuda.global.nvml.NVML_DEVICE_MIG_ENABLE;
import static org.bytedeco.cuda.global.nvml.NVML_DEVICE_NAME_V2_BUFFER_SIZE;
import static org.bytedeco.cuda.global.nvml.NVML_DEVICE_UUID_V2_BUFFER_SIZE;
import static org.bytedeco.cuda.global.nvml.NVML_ERROR_INVALID_ARGUMENT;
import static org.bytedeco.cuda.global.nvml.NVML_ERROR_NOT_FOUND;
import static org.bytedeco.cuda.global.nvml.NVML_ERROR_NOT_SUPPORTED;
import static org.bytedeco.cuda.global.nvml.NVML_ERROR_NO_PERMISSION;
import static org.bytedeco.cuda.global.nvml.NVML_NVLINK_DEVICE_TYPE_SWITCH;
import static org.bytedeco.cuda.global.nvml.NVML_NVLINK_MAX_LINKS;
import static org.bytedeco.cuda.global.nvml.NVML_SUCCESS;
import static org.bytedeco.cuda.global.nvml.NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetCount_v2;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetCudaComputeCapability;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetHandleByIndex_v2;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetMaxMigDeviceCount;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetMemoryInfo;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetMigDeviceHandleByIndex;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetMigMode;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetName;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetNvLinkRemoteDeviceType;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetNvLinkRemotePciInfo_v2;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetNvLinkState;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetPciInfo_v3;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetPowerManagementLimit;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetTopologyCommonAncestor;
import static org.bytedeco.cuda.global.nvml.nvmlDeviceGetUUID;
import static org.bytedeco.cuda.global.nvml.nvmlErrorString;
import static org.bytedeco.cuda.global.nvml.nvmlInit_v2;
import static org.bytedeco.cuda.global.nvml.nvmlShutdown;
import static org.bytedeco.cuda.global.nvml.nvmlSystemGetCudaDriverVersion_v2;
import static org.bytedeco.cuda.global.nvml.nvmlSystemGetDriverVersion;

import io.brazier.cuda.GpuInventory.Gpu;
import io.brazier.cuda.GpuInventory.Link;
import io.brazier.cuda.GpuInventory.MigInstance;
import io.brazier.cuda.GpuInventory.Path;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.function.ToIntFunction;
import java.util.stream.IntStream;
import org.bytedeco.cuda.nvml.nvmlDevice_st;
import org.bytedeco.cuda.nvml.nvmlMemory_t;
import org.bytedeco.cuda.nvml.nvmlPciInfo_t;

/**
 * NVIDIA's management library: which GPUs a machine has. It takes nothing of them, neither memory nor a context, and sees all that the
 * machine or container has, whatever {@code CUDA_VISIBLE_DEVICES} says. Needs the driver and CUDA's runtime, and none of the libraries
 * that compute.
 */
public final class Nvml {

    /** A driver that serves less may lack functions that links are asked by, and calling one that is missing ends the process. */
    private static final int LEAST_CUDA_FOR_LINKS = 12_000;

    /** Answers of a GPU that lacks what it was asked about. */
    private static final Set<Integer> ABSENT = Set.of(
            NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_INVALID_ARGUMENT, NVML_ERROR_NOT_FOUND, NVML_ERROR_NO_PERMISSION);

    /** By NVML's level divided by 10. */
    private static final List<Path> PATHS = List.of(Path.values());

    private Nvml() {}

    /** Says in a sentence why NVML cannot be asked, if it cannot. */
    public static Optional<String> unavailable() {
        Optional<String> missing = CudaLibraries.unavailable(CudaLibraries.MANAGEMENT);
        if (missing.isPresent()) {
            return missing;
        }
        int result = nvmlInit_v2();
        if (result != NVML_SUCCESS) {
            return Optional.of("NVIDIA's management library does not start: " + describe(result)
                    + "; nvidia-smi on this machine must work first");
        }
        nvmlShutdown();
        return Optional.empty();
    }

    /**
     * Looks at the machine.
     *
     * @throws IllegalStateException saying why NVML cannot be asked
     * @throws CudaException when a call fails
     */
    public static GpuInventory inventory() {
        unavailable().ifPresent(reason -> {
            throw new IllegalStateException(reason);
        });
        check("nvmlInit", nvmlInit_v2());
        try {
            byte[] driver = new byte[NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE];
            check("nvmlSystemGetDriverVersion", nvmlSystemGetDriverVersion(driver, driver.length));
            int cuda = number("nvmlSystemGetCudaDriverVersion", value -> nvmlSystemGetCudaDriverVersion_v2(value));
            int count = number("nvmlDeviceGetCount", value -> nvmlDeviceGetCount_v2(value));
            List<nvmlDevice_st> devices =
                    IntStream.range(0, count).mapToObj(Nvml::device).toList();
            List<Gpu> gpus = IntStream.range(0, count)
                    .mapToObj(index -> gpu(index, devices.get(index)))
                    .toList();
            List<Link> links = cuda < LEAST_CUDA_FOR_LINKS ? List.of() : links(devices, gpus);
            return new GpuInventory(text(driver), cuda, gpus, links);
        } finally {
            nvmlShutdown();
        }
    }

    /**
     * What this process may use of the machine, as Spark's resources name it: UUIDs of GPUs, and of MIG instances where a GPU is split.
     *
     * @throws IllegalStateException saying in a sentence why there is nothing
     * @throws IllegalArgumentException when CUDA_VISIBLE_DEVICES may be read in two ways
     */
    public static List<String> addresses() {
        GpuInventory inventory = inventory();
        List<String> addresses = inventory.addresses(System.getenv());
        if (addresses.isEmpty()) {
            String visible = System.getenv(GpuInventory.VISIBLE);
            throw new IllegalStateException(
                    inventory.gpus().isEmpty()
                            ? "an NVIDIA driver, but no GPU"
                            : visible == null
                                    ? "all GPUs are in MIG mode and have no instances: make some with nvidia-smi mig"
                                    : GpuInventory.VISIBLE + "=" + visible + " leaves none of this machine's GPUs");
        }
        return addresses;
    }

    private static nvmlDevice_st device(int index) {
        nvmlDevice_st device = new nvmlDevice_st();
        check("nvmlDeviceGetHandleByIndex", nvmlDeviceGetHandleByIndex_v2(index, device));
        return device;
    }

    private static Gpu gpu(int index, nvmlDevice_st device) {
        int[] major = new int[1];
        int[] minor = new int[1];
        check("nvmlDeviceGetCudaComputeCapability", nvmlDeviceGetCudaComputeCapability(device, major, minor));
        int[] mode = new int[1];
        boolean mig = present("nvmlDeviceGetMigMode", nvmlDeviceGetMigMode(device, mode, new int[1]))
                && mode[0] == NVML_DEVICE_MIG_ENABLE;
        int milliwatts = numberOr0(
                "nvmlDeviceGetPowerManagementLimit", value -> nvmlDeviceGetPowerManagementLimit(device, value));
        return new Gpu(
                index,
                uuid(device),
                name(device),
                memoryBytes(device),
                10 * major[0] + minor[0],
                pciBusId("nvmlDeviceGetPciInfo", pci -> nvmlDeviceGetPciInfo_v3(device, pci)),
                milliwatts / 1000,
                mig,
                mig ? instances(device) : List.of());
    }

    private static List<MigInstance> instances(nvmlDevice_st device) {
        int most = number("nvmlDeviceGetMaxMigDeviceCount", value -> nvmlDeviceGetMaxMigDeviceCount(device, value));
        List<MigInstance> instances = new ArrayList<>();
        for (int x = 0; x < most; x++) {
            nvmlDevice_st instance = new nvmlDevice_st();
            int result = nvmlDeviceGetMigDeviceHandleByIndex(device, x, instance);
            if (present("nvmlDeviceGetMigDeviceHandleByIndex", result)) {
                instances.add(new MigInstance(uuid(instance), name(instance), memoryBytes(instance)));
            }
        }
        return instances;
    }

    private static List<Link> links(List<nvmlDevice_st> devices, List<Gpu> gpus) {
        List<NvLinks> nvLinks = devices.stream().map(NvLinks::of).toList();
        List<Link> links = new ArrayList<>();
        for (int from = 0; from < gpus.size(); from++) {
            for (int to = from + 1; to < gpus.size(); to++) {
                nvmlDevice_st one = devices.get(from);
                nvmlDevice_st other = devices.get(to);
                int[] level = new int[1];
                boolean known = present(
                        "nvmlDeviceGetTopologyCommonAncestor", nvmlDeviceGetTopologyCommonAncestor(one, other, level));
                Path path = PATHS.get(known ? Math.min(level[0] / 10, PATHS.size() - 1) : PATHS.size() - 1);
                int toSwitches = Math.min(nvLinks.get(from).toSwitches, nvLinks.get(to).toSwitches);
                String bus = gpus.get(to).pciBusId();
                int direct = (int)
                        nvLinks.get(from).toGpus.stream().filter(bus::equals).count();
                links.add(new Link(from, to, toSwitches + direct, path));
            }
        }
        return links;
    }

    /** The NVLinks of a GPU that are up: those to NVSwitches, and the bus of the GPU at the end of each of the others. */
    private record NvLinks(int toSwitches, List<String> toGpus) {
        static NvLinks of(nvmlDevice_st device) {
            int toSwitches = 0;
            List<String> toGpus = new ArrayList<>();
            for (int x = 0; x < NVML_NVLINK_MAX_LINKS; x++) {
                int link = x;
                if (numberOr0("nvmlDeviceGetNvLinkState", value -> nvmlDeviceGetNvLinkState(device, link, value))
                        == 0) {
                    continue;
                }
                int remote = numberOr0(
                        "nvmlDeviceGetNvLinkRemoteDeviceType",
                        value -> nvmlDeviceGetNvLinkRemoteDeviceType(device, link, value));
                if (remote == NVML_NVLINK_DEVICE_TYPE_SWITCH) {
                    toSwitches++;
                } else {
                    toGpus.add(pciBusId(
                            "nvmlDeviceGetNvLinkRemotePciInfo",
                            pci -> nvmlDeviceGetNvLinkRemotePciInfo_v2(device, link, pci)));
                }
            }
            return new NvLinks(toSwitches, toGpus);
        }
    }

    private static String uuid(nvmlDevice_st device) {
        byte[] uuid = new byte[NVML_DEVICE_UUID_V2_BUFFER_SIZE];
        check("nvmlDeviceGetUUID", nvmlDeviceGetUUID(device, uuid, uuid.length));
        return text(uuid);
    }

    private static String name(nvmlDevice_st device) {
        byte[] name = new byte[NVML_DEVICE_NAME_V2_BUFFER_SIZE];
        check("nvmlDeviceGetName", nvmlDeviceGetName(device, name, name.length));
        return text(name);
    }

    private static long memoryBytes(nvmlDevice_st device) {
        try (nvmlMemory_t memory = new nvmlMemory_t()) {
            return present("nvmlDeviceGetMemoryInfo", nvmlDeviceGetMemoryInfo(device, memory)) ? memory.total() : 0;
        }
    }

    private static String pciBusId(String call, ToIntFunction<nvmlPciInfo_t> ask) {
        try (nvmlPciInfo_t pci = new nvmlPciInfo_t()) {
            check(call, ask.applyAsInt(pci));
            return pci.busId().getString();
        }
    }

    private static int number(String call, ToIntFunction<int[]> ask) {
        int[] value = new int[1];
        check(call, ask.applyAsInt(value));
        return value[0];
    }

    private static int numberOr0(String call, ToIntFunction<int[]> ask) {
        int[] value = new int[1];
        return present(call, ask.applyAsInt(value)) ? value[0] : 0;
    }

    /** @throws CudaException unless the call answered, or the GPU lacks what it was asked about */
    private static boolean present(String call, int result) {
        if (!ABSENT.contains(result)) {
            check(call, result);
        }
        return result == NVML_SUCCESS;
    }

    private static void check(String call, int result) {
        if (result != NVML_SUCCESS) {
            throw new CudaException(call, result, describe(result));
        }
    }

    private static String describe(int result) {
        return nvmlErrorString(result).getString();
    }

    private static String text(byte[] terminated) {
        int end = 0;
        while (terminated[end] != 0) {
            end++;
        }
        return new String(terminated, 0, end, StandardCharsets.UTF_8);
    }
}
