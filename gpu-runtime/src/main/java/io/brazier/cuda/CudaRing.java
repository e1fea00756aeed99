package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.cuda.CudaAttention.Gradients;
import io.brazier.cuda.CudaAttention.Keys;
import io.brazier.cuda.CudaAttention.Results;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Ring;
import io.brazier.program.Value;

/** Launches of the blocks of ring attention; its coarse ops are expanded before a back end sees them. */
final class CudaRing {
    private static final String FILE = "ring.cu";

    private CudaRing() {}

    static void putInto(CudaBackend backend) {
        backend.put(Ring.OwnBlock.class, (op, i, a) -> CudaAttention.causal(backend, op.heads(), i, a));
        backend.put(Ring.OwnBlockGrad.class, (op, i, a) -> CudaAttention.causalGrad(backend, op.heads(), i, a));
        backend.putWorkspace(
                Ring.OwnBlockGrad.class, i -> i.inputs().get(2).type().bytes());
        backend.put(Ring.PackKeyValues.class, (op, i, a) -> {
            Heads h = op.heads();
            return backend.launch(FILE, "pack_key_values" + suffix(i.inputs().get(0)))
                    .grid(shape(i, 0).rows())
                    .pointers(a.input(0), a.output(0))
                    .ints(CudaAttention.fused(h), CudaAttention.keyValues(h))
                    .build();
        });
        backend.put(Ring.JoinGradients.class, (op, i, a) -> {
            Heads h = op.heads();
            return backend.launch(FILE, "join_gradients" + suffix(i.outputs().get(0)))
                    .grid(shape(i, 0).rows())
                    .pointers(a.output(0), a.input(1), a.input(2))
                    .ints(CudaAttention.output(h), CudaAttention.keyValues(h))
                    .build();
        });
        backend.put(Ring.AttentionBlock.class, (op, i, a) -> {
            Heads h = op.heads();
            Value qkv = CudaAttention.queries(i, 2);
            Keys keys = block(h, qkv, a.input(1));
            CudaAttention.Mask mask = mask(op.mask(), i);
            return CudaAttention.forward(backend, h, qkv, a.input(0), keys, mask, 0, a.output(0), a.output(1), true);
        });
        backend.put(Ring.AttentionBlockGrad.class, (op, i, a) -> grad(backend, op, i, a));
        backend.putWorkspace(
                Ring.AttentionBlockGrad.class, i -> i.inputs().get(3).type().bytes());
    }

    /** The workspace holds delta [B, H, T] f32. */
    private static Runnable grad(CudaBackend backend, Ring.AttentionBlockGrad op, Instruction i, Addresses a) {
        Heads h = op.heads();
        Value qkv = CudaAttention.queries(i, 2);
        long stride = CudaAttention.keyValues(h);
        long dv = a.output(1) + CudaAttention.bytes(i.outputs().get(1), stride / 2);
        return CudaAttention.backward(
                backend,
                h,
                qkv,
                a.input(0),
                block(h, qkv, a.input(1)),
                mask(op.mask(), i),
                new Results(a.input(2), a.input(3), a.input(4), a.workspace()),
                new Gradients(
                        a.output(0),
                        CudaAttention.output(h),
                        a.output(1),
                        dv,
                        stride,
                        i.outputs().get(1),
                        op.addend() == Operand.PRESENT));
    }

    /** The keys of a block [B, T, 2 G K], then its values. */
    private static Keys block(Heads h, Value qkv, long kv) {
        long stride = CudaAttention.keyValues(h);
        return Keys.rows(kv, kv + CudaAttention.bytes(qkv, stride / 2), stride, h, qkv);
    }

    private static CudaAttention.Mask mask(Ring.Mask mask, Instruction i) {
        long numTokens = shape(i, 0).dim(1);
        return new CudaAttention.Mask(mask.firstQuery(numTokens), mask.numKeys(numTokens), false);
    }
}
