package io.brazier.cuda;

import io.brazier.cuda.GpuInventory.Gpu;
import java.util.List;

/** From the address of a GPU to CUDA's number of it in this process: CUDA counts what the process sees, and the fastest first. */
final class CudaAddresses {
    private CudaAddresses() {}

    /** @throws IllegalArgumentException saying what this process sees, when the address is none of it */
    static int ordinal(String address) {
        String uuid = address.matches("\\d{1,9}") ? ofIndex(Integer.parseInt(address)) : address;
        boolean instance = uuid.startsWith("MIG-");
        if (instance) {
            show(uuid);
        }
        List<CudaDevice> visible = CudaDevice.visible();
        return visible.stream()
                .filter(device -> device.uuid().equals(uuid))
                .findFirst()
                .map(CudaDevice::ordinal)
                .orElseThrow(() -> new IllegalArgumentException(
                        "GPU " + address + " is none of those that this process sees" + limit() + ": " + visible
                                + (instance ? "; CUDA shows a process one MIG instance, the first that it used" : "")));
    }

    private static String ofIndex(int index) {
        List<Gpu> gpus = Nvml.inventory().gpus();
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

    /** Left to itself, CUDA would show the first instance of the machine. */
    private static void show(String instance) {
        List<String> usable = Nvml.inventory().addresses(System.getenv());
        if (!usable.contains(instance)) {
            throw new IllegalArgumentException("MIG instance " + instance
                    + " is none of those that this process may use" + limit() + ": " + usable);
        }
        CudaDevice.showOnly(instance);
    }

    private static String limit() {
        String visible = System.getenv(GpuInventory.VISIBLE);
        return visible == null ? "" : " with " + GpuInventory.VISIBLE + "=" + visible;
    }
}
