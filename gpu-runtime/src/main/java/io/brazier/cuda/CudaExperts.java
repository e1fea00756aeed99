package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.program.Experts;
import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.Shape;

/** Launches of experts.cu. */
final class CudaExperts {
    private static final String FILE = "experts.cu";

    private CudaExperts() {}

    static void putInto(CudaBackend backend) {
        backend.put(Experts.Dispatch.class, (op, i, a) -> {
            Shape slots = shape(i, 1);
            long numSlots = op.numExperts() * op.capacity();
            Runnable own = backend.launch(FILE, "own_slots")
                    .over(slots.numElements())
                    .pointers(a.input(1), a.workspace())
                    .ints(slots.numElements())
                    .build();
            Runnable dispatch = backend.launch(
                            FILE, "dispatch" + suffix(i.inputs().get(0)))
                    .warps(numSlots)
                    .pointers(a.input(0), a.workspace(), op.gates() == Operand.PRESENT ? a.input(2) : 0, a.output(0))
                    .longs(numSlots)
                    .ints(slots.width(), shape(i, 0).width())
                    .build();
            return () -> {
                backend.fill(a.workspace(), numSlots, 0);
                own.run();
                dispatch.run();
            };
        });
        backend.putWorkspace(Experts.Dispatch.class, i -> {
            Experts.Dispatch op = (Experts.Dispatch) i.op();
            return op.numExperts() * op.capacity() * Integer.BYTES;
        });
        backend.put(Experts.Combine.class, (op, i, a) -> {
            Shape slots = shape(i, 1);
            return backend.launch(FILE, "combine" + suffix(i.inputs().get(0)))
                    .warps(slots.rows())
                    .pointers(a.input(0), a.input(1), op.gates() == Operand.PRESENT ? a.input(2) : 0, a.output(0))
                    .longs(slots.rows())
                    .ints(slots.width(), shape(i, 0).width())
                    .build();
        });
        backend.put(Experts.GatesGrad.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            return backend.launch(FILE, "gates_grad" + suffix(i.inputs().get(0)))
                    .warps(x.rows())
                    .pointers(a.input(0), a.input(1), a.input(2), a.output(0))
                    .longs(x.rows())
                    .ints(shape(i, 2).width(), x.width())
                    .build();
        });
    }
}
