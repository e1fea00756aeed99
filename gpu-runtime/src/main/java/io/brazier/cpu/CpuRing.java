package io.brazier.cpu;

import io.brazier.program.Attention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Ring;
import io.brazier.tensor.Shape;

/** Lowers the blocks of ring attention; its coarse ops are expanded before a back end sees them. */
final class CpuRing {
    private CpuRing() {}

    static void putInto(CpuBackend backend) {
        backend.put(Ring.OwnBlock.class, (op, i, a) -> backend.lower(local(i), a));
        backend.put(Ring.OwnBlockGrad.class, (op, i, a) -> backend.lower(local(i), a));
        backend.put(Ring.PackKeyValues.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> CpuNative.packKeyValues(
                    a.input(0), a.output(0), (int) s.dim(0), (int) s.dim(1), h.heads(), h.groups(), h.width());
        });
        backend.put(Ring.JoinGradients.class, (op, i, a) -> {
            Shape s = CpuBackend.shape(i, 0);
            Heads h = op.heads();
            return () -> CpuNative.joinGradients(
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
            return () -> CpuNative.attentionBlock(
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
            return () -> CpuNative.attentionBlockGrad(
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
            return CpuNative.attentionBlockScratchBytes(h.heads(), h.groups(), h.width(), numKeys, numThreads);
        }
        if (i.op() instanceof Ring.AttentionBlockGrad op) {
            Heads h = op.heads();
            long numKeys = op.mask().numKeys(CpuBackend.shape(i, 0).dim(1));
            return CpuNative.attentionBlockGradScratchBytes(h.heads(), h.groups(), h.width(), numKeys, numThreads);
        }
        return 0;
    }
}
