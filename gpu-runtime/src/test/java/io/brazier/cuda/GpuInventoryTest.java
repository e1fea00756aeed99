package io.brazier.cuda;

import static io.brazier.cuda.GpuInventory.VISIBLE;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.GpuInventory.Gpu;
import io.brazier.cuda.GpuInventory.MigInstance;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

class GpuInventoryTest {
    private static final List<MigInstance> INSTANCES = Stream.of("MIG-c0", "MIG-c1")
            .map(uuid -> new MigInstance(uuid, "H100 MIG 3g.40gb", 40L << 30))
            .toList();

    private static final GpuInventory MACHINE =
            machine(gpu(0, "GPU-a0", "H100", false), gpu(1, "GPU-a1", "H100", false), gpu(2, "GPU-b2", "H100", true));

    private static Gpu gpu(int index, String uuid, String name, boolean mig) {
        return new Gpu(index, uuid, name, 80L << 30, 90, "0:" + index, 700, mig, mig ? INSTANCES : List.of());
    }

    private static GpuInventory machine(Gpu... gpus) {
        return new GpuInventory("590", 13010, List.of(gpus), List.of());
    }

    private static List<String> addresses(String visible) {
        return MACHINE.addresses(Map.of(VISIBLE, visible));
    }

    @Test
    void aGpuInMigModeStandsForItsInstances() {
        assertEquals(List.of("GPU-a0", "GPU-a1", "MIG-c0", "MIG-c1"), MACHINE.addresses(Map.of()));
        assertEquals(List.of("MIG-c0", "MIG-c1"), addresses("GPU-b"));
    }

    @Test
    void indicesAndUuidsLimitTheProcess() {
        assertEquals(List.of("GPU-a1", "GPU-a0"), addresses("1,0"));
        assertEquals(List.of("GPU-a1"), addresses("GPU-a1"));
        assertEquals(List.of("MIG-c1"), addresses("MIG-c1"));
        assertEquals(List.of(), addresses(""));
    }

    @Test
    void theFirstThatDoesNotExistEndsTheList() {
        assertEquals(List.of("GPU-a0"), addresses("0,-1,1"));
        assertEquals(List.of("GPU-a0"), addresses("0,7,1"));
        assertEquals(List.of(), addresses("GPU-a,1"), "GPU-a is the beginning of two");
    }

    @Test
    void indicesOfDifferentGpusAreRefusedUnlessCountedByBus() {
        GpuInventory mixed = machine(gpu(0, "GPU-a0", "A100", false), gpu(1, "GPU-a1", "H100", false));
        String message = assertThrows(IllegalArgumentException.class, () -> mixed.addresses(Map.of(VISIBLE, "0")))
                .getMessage();
        assertTrue(message.contains("CUDA_DEVICE_ORDER=PCI_BUS_ID"), message);
        assertEquals(List.of("GPU-a0"), mixed.addresses(Map.of(VISIBLE, "0", "CUDA_DEVICE_ORDER", "PCI_BUS_ID")));
        assertEquals(List.of("GPU-a1"), mixed.addresses(Map.of(VISIBLE, "GPU-a1")));
    }
}
