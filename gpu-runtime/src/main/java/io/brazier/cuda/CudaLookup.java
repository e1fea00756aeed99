package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.program.Lookup;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Value;
import io.brazier.tensor.Shape;

/** Launches of lookup.cu. */
final class CudaLookup {
    private static final String FILE = "lookup.cu";

    /** Bytes of a row of dy that one block takes: a vector a thread. */
    private static final long TILE_BYTES = 256 * 16;

    private CudaLookup() {}

    static void putInto(CudaBackend backend) {
        backend.put(Lookup.Embedding.class, (op, i, a) -> {
            long rows = shape(i, 0).numElements();
            Shape table = shape(i, 1);
            return backend.launch(FILE, "embedding" + suffix(i.outputs().get(0)))
                    .warps(rows)
                    .pointers(a.input(0), a.input(1), op.addend() == Operand.PRESENT ? a.input(2) : 0, a.output(0))
                    .longs(rows)
                    .ints(table.width(), table.dim(0))
                    .longs(op.firstId())
                    .build();
        });
        backend.put(Lookup.EmbeddingGrad.class, (op, i, a) -> {
            Value dy = i.inputs().get(1);
            Shape s = dy.type().shape();
            long rowBytes = s.width() * dy.type().dtype().bytes();
            Runnable add = backend.launch(FILE, "embedding_grad" + suffix(dy))
                    .grid(s.rows(), (rowBytes + TILE_BYTES - 1) / TILE_BYTES, 1)
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .ints(s.rows(), s.width(), op.numRows())
                    .longs(op.firstId())
                    .build();
            if (op.addend() == Operand.PRESENT) {
                return add;
            }
            return CudaAttention.inOrder(() -> backend.fill(a.output(0), op.numRows() * s.width(), 0), add);
        });
        backend.put(Lookup.SelectToken.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            return backend.launch(FILE, "select_token" + suffix(i.inputs().get(0)))
                    .grid(x.dim(0))
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .ints(x.dim(1), x.width())
                    .build();
        });
    }
}
