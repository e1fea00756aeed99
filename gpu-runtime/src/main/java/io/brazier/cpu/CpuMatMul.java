package io.brazier.cpu;

import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;

/** A compiled product; instructions of one shape share it. */
final class CpuMatMul implements AutoCloseable {

    /** What a product is compiled for: y [m, n], contracting k. */
    record Key(MatMul op, long m, long n, long k) {}

    private final long handle;

    CpuMatMul(Key key) {
        MatMul op = key.op();
        handle = CpuNative.matmulCreate(
                key.m(),
                key.n(),
                key.k(),
                op.transpose() == Transpose.X,
                op.transpose() == Transpose.W,
                op.bias() == Operand.PRESENT,
                op.addend() == Operand.PRESENT,
                op.activation() == Activation.GELU_TANH ? CpuNative.ACTIVATION_GELU : CpuNative.ACTIVATION_NONE);
    }

    long scratchBytes() {
        return CpuNative.matmulScratchBytes(handle);
    }

    void run(long x, long w, long bias, long addend, long y, long scratch) {
        CpuNative.matmulRun(handle, x, w, bias, addend, y, scratch);
    }

    @Override
    public void close() {
        CpuNative.matmulDestroy(handle);
    }
}
