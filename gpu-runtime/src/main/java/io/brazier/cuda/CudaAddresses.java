package io.brazier.cuda;

import io.brazier.cuda.GpuInventory.Gpu;
import java.util.List;
import java.util.stream.Collectors;

/** From the address of a GPU to CUDA's number of it in this process: CUDA counts what the process sees, and the fastest first. */
final class CudaAddresses {
    private CudaAddresses() {}

    /** @throws IllegalArgumentException saying what this process sees, when the address is none of it */
    static int ordinal(String address) {
        GpuInventory machine = Nvml.inventory();
        String uuid = address.matches("\\d{1,9}") ? ofIndex(machine.gpus(), Integer.parseInt(address)) : address;
        boolean split = machine.gpus().stream().anyMatch(Gpu::mig);
        if (split) {
            show(uuid, machine.addresses(System.getenv()));
        }
        List<CudaDevice> visible = CudaDevice.visible();
        return visible.stream()
                .filter(device -> device.uuid().equals(uuid))
                .findFirst()
                .map(CudaDevice::ordinal)
                .orElseThrow(() -> new IllegalArgumentException("GPU " + address
                        + " is none of those that this process sees" + limit() + ": " + visible
                        + (split ? "; CUDA shows a process one MIG instance or whole GPUs, as it first used" : "")));
    }

    private static String ofIndex(List<Gpu> gpus, int index) {
        if (index >= gpus.size()) {
            throw new IllegalArgumentException("GPU " + index + " does not exist: this machine has " + gpus.size()
                    + " GPUs, " + gpus.stream().map(Gpu::uuid).toList());
        }
        Gpu gpu = gpus.get(index);
        if (gpu.mig()) {
            throw new IllegalArgumentException("GPU " + index + ", " + gpu.uuid()
                    + ", is in MIG mode, which gives it out in parts: name one of " + gpu.addresses());
        }
        return gpu.uuid();
    }

    /** Left to itself, CUDA would show the first instance of the machine, and no whole GPU beside it. */
    private static void show(String uuid, List<String> usable) {
        if (!usable.contains(uuid)) {
            throw new IllegalArgumentException(
                    "GPU " + uuid + " is none of those that this process may use" + limit() + ": " + usable);
        }
        CudaDevice.showOnly(
                uuid.startsWith("MIG-")
                        ? uuid
                        : usable.stream()
                                .filter(address -> address.startsWith("GPU-"))
                                .collect(Collectors.joining(",")));
    }

    private static String limit() {
        String visible = System.getenv(GpuInventory.VISIBLE);
        return visible == null ? "" : " with " + GpuInventory.VISIBLE + "=" + visible;
    }
}
