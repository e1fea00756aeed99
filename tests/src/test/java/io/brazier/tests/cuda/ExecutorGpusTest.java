package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaDevice;
import io.brazier.spark.plugin.ExecutorGpus;
import java.util.Optional;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** A GPU is opened once, and one task has it at a time. */
@Tag("cuda")
class ExecutorGpusTest {
    @BeforeAll
    static void load() {
        Cudasim.load();
    }

    private static ExecutorGpus.Lease lease(String address) {
        return ExecutorGpus.lease(Optional.of(address));
    }

    @Test
    void oneTaskHasAGpuAtATime() {
        CudaDevice device;
        try (ExecutorGpus.Lease first = lease("3")) {
            device = first.device();
            assertEquals(3, device.ordinal());
            String refused = assertThrows(IllegalStateException.class, () -> lease(device.uuid()))
                    .getMessage();
            assertTrue(refused.contains("has another task of this executor"), refused);
        }
        try (ExecutorGpus.Lease next = lease("3")) {
            assertSame(device, next.device());
        }
    }

    @Test
    void anAddressThatIsNotThereIsNamed() {
        assertTrue(assertThrows(IllegalStateException.class, () -> lease("99"))
                .getMessage()
                .contains("99"));
    }
}
