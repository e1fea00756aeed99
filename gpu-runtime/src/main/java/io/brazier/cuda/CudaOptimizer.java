package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;

import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Optimizer;

/** Launches of optimizer.cu. The parts of a sum lie in the workspace; their number depends on the count alone. */
final class CudaOptimizer {
    private static final String FILE = "optimizer.cu";

    /** Elements that are worth a block, and most blocks: a few waves of an H100. */
    private static final long ELEMENTS_PER_BLOCK = 8 << 10;

    private static final long MAX_PARTS = 2048;

    private CudaOptimizer() {}

    static void putInto(CudaBackend backend) {
        backend.put(Optimizer.SquaredSum.class, (op, i, a) -> {
            Runnable parts = backend.launch(FILE, "squared_parts")
                    .grid(numParts(i))
                    .pointers(a.input(0))
                    .longs(shape(i, 0).numElements())
                    .pointers(a.workspace())
                    .build();
            Runnable sum = backend.launch(FILE, "squared_sum")
                    .pointers(a.workspace())
                    .ints(numParts(i))
                    .doubles(op.share())
                    .pointers(a.output(0))
                    .ints(op.addend() == Operand.PRESENT ? 1 : 0)
                    .build();
            return CudaAttention.inOrder(parts, sum);
        });
        backend.putWorkspace(Optimizer.SquaredSum.class, i -> Float.BYTES * numParts(i));
        backend.put(Optimizer.AdamW.class, (op, i, a) -> {
            long count = shape(i, 0).numElements();
            return backend.launch(FILE, "adamw")
                    .over(count / 4)
                    .pointers(a.input(0), a.input(1), a.input(2), a.input(3))
                    .longs(count)
                    .pointers(a.input(4))
                    .floats(op.weightDecay())
                    .build();
        });
    }

    private static long numParts(Instruction i) {
        long count = shape(i, 0).numElements();
        return Math.max(1, Math.min(MAX_PARTS, count / ELEMENTS_PER_BLOCK));
    }
}
