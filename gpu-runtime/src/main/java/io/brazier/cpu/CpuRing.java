package io.brazier.cpu;

import io.brazier.host.NativeLibrary;
import io.brazier.program.Attention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Ring;
import io.brazier.tensor.Shape;

/**
 * Lowers the blocks of ring attention; its coarse ops are expanded before a back end sees them. Its kernels are documented as those
 * of {@link CpuNative}; a block kv is [B, T, 2 Hkv K], keys before values.
 */
final class CpuRing {
    static {
        NativeLibrary.require();
    }

    private CpuRing() {}

    static void putInto(CpuBackend backend) {
        backend.put(Ring.OwnBlock.class, (op, i, a) -> backend.lower(local(i), a));
        backend.put(Ring.OwnBlockGrad.class, (op, i, a) -> backend.lower(local(i), a));
        backend.put(Ring.PackKeyValues.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> packKeyValues(
                    a.input(0), a.output(0), (int) s.dim(0), (int) s.dim(1), h.heads(), h.groups(), h.width());
        });
        backend.put(Ring.JoinGradients.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> joinGradients(
                    a.output(0),
                    a.input(1),
                    a.input(2),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width());
        });
        backend.put(Ring.AttentionBlock.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> attentionBlock(
                    a.input(0),
                    a.input(1),
                    a.output(0),
                    a.output(1),
                    a.workspace(),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width(),
                    op.mask().firstQuery(s.dim(1)),
                    op.mask().numKeys(s.dim(1)),
                    (float) h.scale());
        });
        backend.put(Ring.AttentionBlockGrad.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> attentionBlockGrad(
                    a.input(0),
                    a.input(1),
                    a.input(2),
                    a.input(3),
                    a.input(4),
                    a.output(0),
                    a.output(1),
                    a.workspace(),
                    (int) s.dim(0),
                    (int) s.dim(1),
                    h.heads(),
                    h.groups(),
                    h.width(),
                    op.mask().firstQuery(s.dim(1)),
                    op.mask().numKeys(s.dim(1)),
                    (float) h.scale(),
                    op.addend() == Operand.PRESENT);
        });
    }

    /** The rank's own block in the words of attention on one rank, whose kernels compute it; other instructions as they are. */
    static Instruction local(Instruction i) {
        if (i.op() instanceof Ring.OwnBlock op) {
            return new Instruction(new Attention.CausalAttention(op.heads()), i.inputs(), i.outputs(), i.path());
        }
        if (i.op() instanceof Ring.OwnBlockGrad op) {
            return new Instruction(new Attention.CausalAttentionGrad(op.heads()), i.inputs(), i.outputs(), i.path());
        }
        return i;
    }

    static long workspaceBytes(Instruction i, int numThreads) {
        if (i.op() instanceof Ring.AttentionBlock op) {
            Heads h = op.heads();
            long numKeys = op.mask().numKeys(CpuBackend.shape(i, 0).dim(1));
            return attentionBlockScratchBytes(h.heads(), h.groups(), h.width(), numKeys, numThreads);
        }
        if (i.op() instanceof Ring.AttentionBlockGrad op) {
            Heads h = op.heads();
            long numKeys = op.mask().numKeys(CpuBackend.shape(i, 0).dim(1));
            return attentionBlockGradScratchBytes(h.heads(), h.groups(), h.width(), numKeys, numThreads);
        }
        return 0;
    }

    /** {@code kv} = the key and value heads of qkv. */
    private static native void packKeyValues(long qkv, long kv, int b, int t, int h, int hkv, int k);

    /** {@code dqkv += (dq, dkv)}: dq [B, T, H K] to the query heads, dkv to the others. */
    private static native void joinGradients(long dqkv, long dq, long dkv, int b, int t, int h, int hkv, int k);

    /** Bytes of scratch of {@link #attentionBlock} for teams up to {@code maxThreads}. */
    private static native long attentionBlockScratchBytes(int h, int hkv, int k, long numKeys, int maxThreads);

    /**
     * Adds to o and lse, which hold what {@link CpuNative#attention} writes, the first numKeys keys of a block, which the queries from
     * firstQuery on see.
     */
    private static native void attentionBlock(
            long qkv,
            long kv,
            long o,
            long lse,
            long scratch,
            int b,
            int t,
            int h,
            int hkv,
            int k,
            long firstQuery,
            long numKeys,
            float scale);

    /** Bytes of scratch of {@link #attentionBlockGrad} for teams up to {@code maxThreads}. */
    private static native long attentionBlockGradScratchBytes(int h, int hkv, int k, long numKeys, int maxThreads);

    /**
     * The part of such a block in the gradient, from the final o and lse and the gradient dO of o: dkv, all of it overwritten, and
     * dq [B, T, H K], which is overwritten or added to.
     */
    private static native void attentionBlockGrad(
            long qkv,
            long kv,
            long o,
            long lse,
            long gradO,
            long dq,
            long dkv,
            long scratch,
            int b,
            int t,
            int h,
            int hkv,
            int k,
            long firstQuery,
            long numKeys,
            float scale,
            boolean accumulate);
}
