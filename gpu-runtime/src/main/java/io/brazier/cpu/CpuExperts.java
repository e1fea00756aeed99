package io.brazier.cpu;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Experts;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Routing;
import io.brazier.tensor.Shape;

/** Lowers the ops of mixtures of experts: routing, moves to and from the experts' buffers, a product for each expert. */
final class CpuExperts {
    private CpuExperts() {}

    static void putInto(CpuBackend backend) {
        choices(backend);
        balance(backend);
        moves(backend);
        backend.put(BatchedMatMul.class, (op, i, a) -> batched(backend, op, i, a));
    }

    static long workspaceBytes(CpuBackend backend, Instruction i) {
        if (i.op() instanceof BatchedMatMul op) {
            return product(backend, op, i).scratchBytes();
        }
        return i.op() instanceof Experts.Dispatch op ? op.numExperts() * op.capacity() * Integer.BYTES : 0;
    }

    private static void choices(CpuBackend backend) {
        backend.put(Routing.Softmax.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.softmax(a.input(0), a.output(0), x.rows(), x.width());
        });
        backend.put(Routing.SoftmaxGrad.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.softmaxGrad(a.input(0), a.input(1), a.output(0), x.rows(), x.width());
        });
        backend.put(Routing.TopK.class, (op, i, a) -> {
            Shape p = CpuBackend.shape(i, 0);
            boolean renormalise = op.gates() == Routing.Gates.RENORMALISED;
            return () -> CpuNative.topK(a.input(0), a.output(0), a.output(1), p.rows(), p.width(), op.k(), renormalise);
        });
        backend.put(Routing.TopKGrad.class, (op, i, a) -> {
            Shape p = CpuBackend.shape(i, 0);
            boolean renormalise = op.gates() == Routing.Gates.RENORMALISED;
            return () -> CpuNative.topKGrad(
                    a.input(0), a.input(1), a.input(2), a.output(0), p.rows(), p.width(), k(i, 1), renormalise);
        });
        backend.put(Routing.AssignSlots.class, (op, i, a) -> {
            Shape experts = CpuBackend.shape(i, 0);
            return () -> CpuNative.assignSlots(
                    a.input(0),
                    a.output(0),
                    a.output(1),
                    a.output(2),
                    experts.rows(),
                    k(i, 0),
                    op.numExperts(),
                    op.capacity());
        });
    }

    private static void balance(CpuBackend backend) {
        backend.put(Routing.LoadBalance.class, (op, i, a) -> {
            Shape p = CpuBackend.shape(i, 0);
            float scale = (float) op.scale(p.width());
            return () -> CpuNative.loadBalance(a.input(0), a.input(1), a.output(0), p.rows(), p.width(), scale);
        });
        backend.put(Routing.LoadBalanceGrad.class, (op, i, a) -> {
            Shape p = CpuBackend.shape(i, 0);
            float scale = (float) op.loss().scale(p.width());
            return () -> CpuNative.loadBalanceGrad(a.input(1), a.input(2), a.output(0), p.rows(), p.width(), scale);
        });
    }

    private static void moves(CpuBackend backend) {
        backend.put(Experts.Dispatch.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long gates = op.gates() == Operand.PRESENT ? a.input(2) : 0;
            long numSlots = op.numExperts() * op.capacity();
            return () -> CpuNative.dispatchTokens(
                    a.input(0), a.input(1), gates, a.output(0), a.workspace(), x.rows(), k(i, 1), numSlots, x.width());
        });
        backend.put(Experts.Combine.class, (op, i, a) -> {
            long rows = CpuBackend.shape(i, 1).rows();
            long width = CpuBackend.shape(i, 0).width();
            long gates = op.gates() == Operand.PRESENT ? a.input(2) : 0;
            return () -> CpuNative.combineTokens(a.input(0), a.input(1), gates, a.output(0), rows, k(i, 1), width);
        });
        backend.put(Experts.GatesGrad.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () ->
                    CpuNative.gatesGrad(a.input(0), a.input(1), a.input(2), a.output(0), x.rows(), k(i, 2), x.width());
        });
    }

    private static int k(Instruction i, int choices) {
        return (int) CpuBackend.shape(i, choices).width();
    }

    /** One expert after another: each product uses the whole team. */
    private static Runnable batched(CpuBackend backend, BatchedMatMul op, Instruction i, Addresses a) {
        CpuMatMul product = product(backend, op, i);
        long numExperts = CpuBackend.shape(i, 0).dim(0);
        long xBytes = i.inputs().get(0).type().bytes() / numExperts;
        long wBytes = i.inputs().get(1).type().bytes() / numExperts;
        long yBytes = i.outputs().get(0).type().bytes() / numExperts;
        return () -> {
            for (long e = 0; e < numExperts; e++) {
                long addend = op.addend() == Operand.PRESENT ? a.input(2) + e * yBytes : 0;
                product.run(
                        a.input(0) + e * xBytes,
                        a.input(1) + e * wBytes,
                        0,
                        addend,
                        a.output(0) + e * yBytes,
                        a.workspace());
            }
        };
    }

    private static CpuMatMul product(CpuBackend backend, BatchedMatMul op, Instruction i) {
        Shape x = CpuBackend.shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        long contracted = op.transpose() == Transpose.X ? x.dim(1) : x.dim(2);
        MatMul single = new MatMul(op.transpose(), Operand.ABSENT, op.addend(), Activation.NONE);
        return backend.product(new CpuMatMul.Key(single, y.dim(1), y.dim(2), contracted));
    }
}
