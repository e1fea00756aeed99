package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.cuda.CudaAttention.Keys;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Attention.CachedAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.tensor.Shape;

/** Launches of decoding.cu, and of attention.cu where a call brings many tokens. */
final class CudaDecoding {
    private static final String FILE = "decoding.cu";

    /** Keys of a block of decode. */
    private static final int CHUNK = 256;

    /** Rows, each a token of a head, that a block of decode shares keys among. */
    private static final int ROWS = 8;

    private CudaDecoding() {}

    static void putInto(CudaBackend backend) {
        backend.put(CachedAttention.class, (op, i, a) -> cached(backend, op.heads(), i, a));
        backend.putWorkspace(CachedAttention.class, CudaDecoding::workspaceBytes);
    }

    private static Runnable cached(CudaBackend backend, Heads h, Instruction i, Addresses a) {
        Value qkv = i.inputs().get(0);
        Shape s = shape(i, 0);
        long capacity = shape(i, 1).dim(2);
        Runnable append = backend.launch(FILE, "append" + suffix(qkv))
                .grid(s.dim(1), s.dim(0), 1)
                .pointers(a.input(0), a.input(3), a.output(1), a.output(2))
                .ints(h.heads(), h.groups(), h.width(), capacity)
                .build();
        if (isDecoding(h, s)) {
            return CudaAttention.inOrder(append, decode(backend, h, i, a));
        }
        long head = capacity * h.width();
        Keys keys = new Keys(a.output(1), a.output(2), h.width(), head, h.groups() * head);
        CudaAttention.Mask mask = CudaAttention.Mask.causal(capacity);
        Runnable attend =
                CudaAttention.forward(backend, h, qkv, a.input(0), keys, mask, a.input(3), a.output(0), 0, false);
        return CudaAttention.inOrder(append, attend);
    }

    private static Runnable decode(CudaBackend backend, Heads h, Instruction i, Addresses a) {
        Value qkv = i.inputs().get(0);
        Shape s = shape(i, 0);
        long capacity = shape(i, 1).dim(2);
        long chunks = chunks(capacity);
        long rows = s.dim(1) * (h.heads() / h.groups());
        Runnable decode = backend.launch(FILE, "decode" + suffix(qkv))
                .grid(chunks, h.groups() * ((rows + ROWS - 1) / ROWS), s.dim(0))
                .pointers(a.input(0), a.output(1), a.output(2), a.input(3), a.workspace())
                .ints(s.dim(1), h.heads(), h.groups(), h.width(), capacity)
                .floats(CudaAttention.scale(h))
                .build();
        Runnable merge = backend.launch(FILE, "merge" + suffix(qkv))
                .grid(h.heads(), s.dim(1), s.dim(0))
                .pointers(a.workspace(), a.input(3), a.output(0))
                .ints(h.width(), chunks)
                .build();
        return CudaAttention.inOrder(decode, merge);
    }

    /** Whether the tokens are so few that reading the cache is all that counts. */
    private static boolean isDecoding(Heads h, Shape qkv) {
        return h.width() <= CHUNK && (qkv.dim(1) == 1 || qkv.dim(1) * h.heads() / h.groups() <= ROWS);
    }

    /** K + 2 floats for each row and chunk. */
    private static long workspaceBytes(Instruction i) {
        Shape s = shape(i, 0);
        Heads h = ((CachedAttention) i.op()).heads();
        return isDecoding(h, s) ? 4 * s.rows() * h.heads() * chunks(shape(i, 1).dim(2)) * (h.width() + 2) : 0;
    }

    private static long chunks(long capacity) {
        return (capacity + CHUNK - 1) / CHUNK;
    }
}
