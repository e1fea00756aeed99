package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.program.Instruction;
import io.brazier.program.Loss;
import io.brazier.tensor.Shape;

/** Launches of loss.cu. */
final class CudaLosses {
    private static final String FILE = "loss.cu";
    private static final int THREADS_OF_A_SUM = 1024;

    private CudaLosses() {}

    static void putInto(CudaBackend backend) {
        whole(backend);
        sharded(backend);
        backend.put(Loss.CrossEntropyGrad.class, (op, i, a) -> rows(backend, "cross_entropy_grad", i)
                .pointers(a.input(0), a.input(1), a.input(2), a.input(3), a.output(0))
                .ints(shape(i, 0).width())
                .longs(op.firstId())
                .floats(op.scale())
                .build());
    }

    private static void whole(CudaBackend backend) {
        backend.put(Loss.CrossEntropy.class, (op, i, a) -> {
            Runnable lse = logSumExp(backend, i, a.input(0), 0, a.output(1));
            Runnable loss = loss(backend, i)
                    .pointers(a.input(0), a.output(1), a.input(1), a.output(0))
                    .longs(shape(i, 0).rows())
                    .ints(shape(i, 0).width())
                    .longs(0)
                    .floats(op.scale())
                    .build();
            return CudaAttention.inOrder(lse, loss);
        });
        backend.put(
                Loss.TokenLogLikelihood.class,
                (op, i, a) -> logSumExp(backend, i, a.input(0), a.input(1), a.output(0)));
        backend.put(Loss.RowLogSumExp.class, (op, i, a) -> logSumExp(backend, i, a.input(0), 0, a.output(0)));
    }

    private static void sharded(CudaBackend backend) {
        backend.put(Loss.ShardedCrossEntropy.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            Runnable lse = backend.launch(FILE, "combine_shards")
                    .over(x.rows())
                    .pointers(a.input(1), a.output(1))
                    .longs(x.rows())
                    .ints(shape(i, 1).dim(0))
                    .build();
            Runnable loss = loss(backend, i)
                    .pointers(a.input(0), a.output(1), a.input(2), a.output(0))
                    .longs(x.rows())
                    .ints(x.width())
                    .longs(op.firstId())
                    .floats(op.scale())
                    .build();
            return CudaAttention.inOrder(lse, loss);
        });
        backend.put(Loss.ShardedTokenLogLikelihood.class, (op, i, a) -> {
            Shape x = shape(i, 0);
            return backend.launch(FILE, "shard_likelihood" + suffix(i.inputs().get(0)))
                    .over(x.rows())
                    .pointers(a.input(0), a.input(1), a.input(2), a.output(0))
                    .longs(x.rows())
                    .ints(x.width(), shape(i, 1).dim(0))
                    .longs(op.firstId())
                    .build();
        });
    }

    private static Runnable logSumExp(CudaBackend backend, Instruction i, long logits, long targets, long out) {
        return rows(backend, "row_log_sum_exp", i)
                .pointers(logits, targets, out)
                .ints(shape(i, 0).width())
                .build();
    }

    /** A block for each row of logits. */
    private static CudaLaunch rows(CudaBackend backend, String kernel, Instruction i) {
        return backend.launch(FILE, kernel + suffix(i.inputs().get(0)))
                .grid(shape(i, 0).rows());
    }

    private static CudaLaunch loss(CudaBackend backend, Instruction i) {
        return backend.launch(FILE, "cross_entropy_loss" + suffix(i.inputs().get(0)))
                .block(THREADS_OF_A_SUM);
    }
}
