package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Instruction;
import io.brazier.program.Routing;
import io.brazier.tensor.Shape;

/** Launches of routing.cu. */
final class CudaRouting {
    private static final String FILE = "routing.cu";

    /** Elements that are worth a block of the balance loss, and most blocks: one on each multiprocessor of an H100. */
    private static final long ELEMENTS_PER_BLOCK = 4 << 10;

    private static final long MAX_PARTS = 132;

    private CudaRouting() {}

    static void putInto(CudaBackend backend) {
        backend.put(Routing.Softmax.class, (op, i, a) -> rows(
                        backend, "softmax" + suffix(i.inputs().get(0)), i)
                .pointers(a.input(0), a.output(0))
                .longs(shape(i, 0).rows())
                .ints(shape(i, 0).width())
                .build());
        backend.put(Routing.SoftmaxGrad.class, (op, i, a) -> rows(
                        backend, "softmax_grad" + suffix(i.inputs().get(0)), i)
                .pointers(a.input(0), a.input(1), a.output(0))
                .longs(shape(i, 0).rows())
                .ints(shape(i, 0).width())
                .build());
        backend.put(Routing.TopK.class, (op, i, a) -> rows(backend, "top_k", i)
                .pointers(a.input(0), a.output(0), a.output(1))
                .longs(shape(i, 0).rows())
                .ints(shape(i, 0).width(), op.k(), flag(op.gates()))
                .build());
        backend.put(Routing.TopKGrad.class, (op, i, a) -> rows(backend, "top_k_grad", i)
                .pointers(a.input(0), a.input(1), a.input(2), a.output(0))
                .longs(shape(i, 0).rows())
                .ints(shape(i, 0).width(), shape(i, 1).width(), flag(op.gates()))
                .build());
        backend.put(Routing.AssignSlots.class, (op, i, a) -> assignSlots(backend, op, i, a));
        balance(backend);
    }

    private static Runnable assignSlots(CudaBackend backend, Routing.AssignSlots op, Instruction i, Addresses a) {
        Shape experts = shape(i, 0);
        Runnable assign = backend.launch(FILE, "assign_slots")
                .grid(op.numExperts())
                .block(1024)
                .pointers(a.input(0), a.output(0), a.output(1))
                .ints(experts.rows(), experts.width(), op.capacity())
                .build();
        Runnable dropped = backend.launch(FILE, "count_dropped")
                .pointers(a.output(1), a.output(2))
                .ints(op.numExperts(), op.capacity())
                .build();
        return CudaAttention.inOrder(assign, dropped);
    }

    private static void balance(CudaBackend backend) {
        backend.put(Routing.LoadBalance.class, (op, i, a) -> {
            Shape p = shape(i, 0);
            Runnable parts = backend.launch(FILE, "balance_parts")
                    .grid(numParts(i))
                    .pointers(a.input(0), a.input(1), a.workspace())
                    .longs(p.rows())
                    .ints(p.width())
                    .build();
            Runnable loss = backend.launch(FILE, "balance_loss")
                    .pointers(a.workspace(), a.output(0))
                    .ints(numParts(i))
                    .floats(op.scale(p.width()))
                    .build();
            return CudaAttention.inOrder(parts, loss);
        });
        backend.putWorkspace(Routing.LoadBalance.class, i -> Float.BYTES * numParts(i));
        backend.put(Routing.LoadBalanceGrad.class, (op, i, a) -> {
            Shape p = shape(i, 0);
            return backend.launch(FILE, "balance_grad")
                    .over(p.numElements())
                    .pointers(a.input(1), a.input(2), a.output(0))
                    .longs(p.rows())
                    .ints(p.width())
                    .floats(op.loss().scale(p.width()))
                    .build();
        });
    }

    private static long numParts(Instruction i) {
        return Math.max(1, Math.min(MAX_PARTS, shape(i, 0).numElements() / ELEMENTS_PER_BLOCK));
    }

    private static int flag(Routing.Gates gates) {
        return gates == Routing.Gates.RENORMALISED ? 1 : 0;
    }

    /** A warp for each row of probabilities. */
    private static CudaLaunch rows(CudaBackend backend, String kernel, Instruction i) {
        return backend.launch(FILE, kernel).warps(shape(i, 0).rows());
    }
}
