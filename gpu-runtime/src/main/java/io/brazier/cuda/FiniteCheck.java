package io.brazier.cuda;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** Waits for each launch, and finds results that are not finite where they come up instead of where they are noticed. */
final class FiniteCheck {
    private final CudaBackend backend;
    private final long counter;
    private final ByteBuffer count = ByteBuffer.allocateDirect(Integer.BYTES).order(ByteOrder.nativeOrder());

    FiniteCheck(CudaBackend backend) {
        this.backend = backend;
        this.counter = backend.allocate(Integer.BYTES);
    }

    /** A launch after which its instruction's floating-point results are finite, or an error. */
    Runnable checked(Runnable launch, Instruction i, Addresses a) {
        Runnable[] counts = new Runnable[i.outputs().size()];
        for (int x = 0; x < counts.length; x++) {
            Value y = i.outputs().get(x);
            DType type = y.type().dtype();
            if (type == DType.F32 || type == DType.BF16) {
                counts[x] = CudaElementwise.countNonfinite(backend, y, a.output(x), counter);
            }
        }
        return () -> {
            launch.run();
            for (int x = 0; x < counts.length; x++) {
                if (counts[x] != null) {
                    backend.fill(counter, 1, 0);
                    counts[x].run();
                    backend.download(counter, count.clear());
                    require(count.getInt(0), i.outputs().get(x));
                }
            }
        };
    }

    private static void require(int found, Value y) {
        if (found > 0) {
            throw new CudaException("the check for finite results", 0, found + " elements of " + y + " are not");
        }
    }

    void close() {
        backend.free(counter, Integer.BYTES);
    }
}
