package io.brazier.cuda;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/** Products by cuBLASLt; each instruction has its own, made when it is lowered and kept until the back end closes. */
final class CudaMatrix implements AutoCloseable {
    private final CudaProduct.Library library = new CudaProduct.Library();
    private final List<CudaProduct> products = new ArrayList<>();

    void putInto(CudaBackend backend) {
        backend.put(MatMul.class, (op, i, a) -> lower(backend, shape(op, i), op.bias(), op.addend(), i, a));
        backend.put(BatchedMatMul.class, (op, i, a) -> lower(backend, shape(op, i), Operand.ABSENT, op.addend(), i, a));
        backend.putWorkspace(MatMul.class, i -> workspaceBytes(shape((MatMul) i.op(), i)));
        backend.putWorkspace(BatchedMatMul.class, i -> workspaceBytes(shape((BatchedMatMul) i.op(), i)));
    }

    long workspaceBytes(CudaProduct.Shape shape) {
        try (CudaProduct product = new CudaProduct(library, shape)) {
            return product.workspaceBytes();
        }
    }

    private Runnable lower(
            CudaBackend backend, CudaProduct.Shape shape, Operand bias, Operand addend, Instruction i, Addresses a) {
        return make(shape)
                .at(
                        a.input(0),
                        a.input(1),
                        bias == Operand.PRESENT ? a.input(2) : 0,
                        addend == Operand.PRESENT ? a.input(i.inputs().size() - 1) : 0,
                        a.output(0),
                        a.workspace(),
                        backend.streams().compute());
    }

    /** A product that lives as long as this. */
    CudaProduct make(CudaProduct.Shape shape) {
        CudaProduct product = new CudaProduct(library, shape);
        products.add(product);
        return product;
    }

    private static CudaProduct.Shape shape(MatMul op, Instruction i) {
        Shape x = CudaBackend.shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        return new CudaProduct.Shape(
                1,
                y.rows(),
                y.width(),
                op.transpose() == Transpose.X ? x.rows() : x.width(),
                op.transpose() == Transpose.X,
                op.transpose() == Transpose.W,
                input(i),
                output(i),
                op.bias() == Operand.PRESENT ? i.inputs().get(2).type().dtype() : null,
                op.addend() == Operand.PRESENT,
                op.activation() == Activation.GELU_TANH,
                null);
    }

    private static CudaProduct.Shape shape(BatchedMatMul op, Instruction i) {
        Shape x = CudaBackend.shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        return new CudaProduct.Shape(
                y.dim(0),
                y.dim(1),
                y.dim(2),
                x.dim(op.transpose() == Transpose.X ? 1 : 2),
                op.transpose() == Transpose.X,
                op.transpose() == Transpose.W,
                input(i),
                output(i),
                null,
                op.addend() == Operand.PRESENT,
                false,
                null);
    }

    private static DType input(Instruction i) {
        DType x = i.inputs().get(0).type().dtype();
        DType w = i.inputs().get(1).type().dtype();
        if (x != w) {
            throw new IllegalArgumentException(i + ": a product of " + x + " by " + w + "; cast one");
        }
        return x;
    }

    private static DType output(Instruction i) {
        return i.outputs().get(0).type().dtype();
    }

    @Override
    public void close() {
        products.forEach(CudaProduct::close);
        library.close();
    }
}
