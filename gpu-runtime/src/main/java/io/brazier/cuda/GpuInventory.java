package io.brazier.cuda;

import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;

/**
 * The GPUs of a machine as NVML tells of them, whatever this process may use.
 *
 * @param driverVersion such as {@code 590.44.01}
 * @param cudaVersion the newest that the driver serves, 1000 major + 10 minor
 * @param gpus in NVML's order, which is nvidia-smi's: by PCI bus
 * @param links one for each pair of GPUs, the lower index first; none where the driver is too old to be asked
 */
public record GpuInventory(String driverVersion, int cudaVersion, List<Gpu> gpus, List<Link> links) {

    /** The variable that limits a process to some GPUs. */
    public static final String VISIBLE = "CUDA_VISIBLE_DEVICES";

    private static final String ORDER = "CUDA_DEVICE_ORDER";

    public GpuInventory {
        gpus = List.copyOf(gpus);
        links = List.copyOf(links);
    }

    /**
     * @param uuid {@code GPU-…}
     * @param computeCapability ten times the compute capability: 90 for 9.0
     * @param memoryBytes 0 where the GPU does not tell
     * @param powerLimitWatts 0 where the GPU does not tell
     * @param mig whether it is split into instances, and is of no use as a whole then
     * @param instances of a GPU in MIG mode
     */
    public record Gpu(
            int index,
            String uuid,
            String name,
            long memoryBytes,
            int computeCapability,
            String pciBusId,
            int powerLimitWatts,
            boolean mig,
            List<MigInstance> instances) {

        public Gpu {
            instances = List.copyOf(instances);
        }

        /** What a process may be given of it: its instances in MIG mode, else the GPU. */
        public List<String> addresses() {
            return mig ? instances.stream().map(MigInstance::uuid).toList() : List.of(uuid);
        }
    }

    /** @param uuid {@code MIG-…} */
    public record MigInstance(String uuid, String name, long memoryBytes) {}

    /**
     * How two GPUs reach each other.
     *
     * @param numNvLinks that join them, directly or through NVSwitch; 0 for none
     * @param path over PCI, the way that is left without NVLink
     */
    public record Link(int from, int to, int numNvLinks, Path path) {}

    /** The farthest thing that two GPUs have between them on the way over PCI. */
    public enum Path {
        BOARD("on one board"),
        SWITCH("behind one PCI switch"),
        SWITCHES("behind several PCI switches"),
        HOST_BRIDGE("behind one PCI host bridge"),
        NUMA_NODE("on one NUMA node"),
        SYSTEM("on different NUMA nodes");

        private final String words;

        Path(String words) {
            this.words = words;
        }

        @Override
        public String toString() {
            return words;
        }
    }

    /**
     * What a process of this environment may use, GPUs and MIG instances by UUID, as CUDA reads {@code CUDA_VISIBLE_DEVICES}: indices,
     * UUIDs or their beginnings, up to the first that does not exist. A GPU in MIG mode stands for its instances.
     *
     * @throws IllegalArgumentException when indices are given and CUDA would not count as NVML does
     */
    public List<String> addresses(Map<String, String> environment) {
        String visible = environment.get(VISIBLE);
        if (visible == null) {
            return gpus.stream().flatMap(gpu -> gpu.addresses().stream()).toList();
        }
        Set<String> addresses = new LinkedHashSet<>();
        for (String entry : visible.split(",")) {
            List<String> named = named(entry.strip(), environment);
            if (named.isEmpty()) {
                break;
            }
            addresses.addAll(named);
        }
        return List.copyOf(addresses);
    }

    private List<String> named(String entry, Map<String, String> environment) {
        if (entry.matches("\\d{1,9}")) {
            requireOrder(environment);
            int index = Integer.parseInt(entry);
            return index < gpus.size() ? gpus.get(index).addresses() : List.of();
        }
        List<List<String>> matches = new ArrayList<>();
        for (Gpu gpu : gpus) {
            if (entry.startsWith("GPU-") && gpu.uuid.startsWith(entry)) {
                matches.add(gpu.addresses());
            }
            for (String address : gpu.addresses()) {
                if (entry.startsWith("MIG-") && address.startsWith(entry)) {
                    matches.add(List.of(address));
                }
            }
        }
        return matches.size() == 1 ? matches.get(0) : List.of();
    }

    private void requireOrder(Map<String, String> environment) {
        Set<String> names = gpus.stream().map(Gpu::name).collect(Collectors.toSet());
        if (names.size() > 1 && !"PCI_BUS_ID".equals(environment.get(ORDER))) {
            throw new IllegalArgumentException(VISIBLE + "=" + environment.get(VISIBLE) + " counts different GPUs, "
                    + names + ", which CUDA does from the fastest on: set " + ORDER + "=PCI_BUS_ID, or name UUIDs");
        }
    }
}
