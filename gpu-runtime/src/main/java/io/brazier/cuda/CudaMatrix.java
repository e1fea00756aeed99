package io.brazier.cuda;

import io.brazier.cuda.CudaProduct.Places;
import io.brazier.cuda.ProductShape.Epilogue;
import io.brazier.exec.Backend.Addresses;
import io.brazier.plan.Slice;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Elementwise;
import io.brazier.program.Fused;
import io.brazier.program.Fused.LinearGrad;
import io.brazier.program.Fused.MatMulGeluGrad;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Products by cuBLASLt; each instruction has its own, made when it is lowered and kept until the back end closes. */
final class CudaMatrix implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(CudaMatrix.class);

    private final CudaProduct.Library library;
    private final List<CudaProduct> products = new ArrayList<>();
    private final Set<ProductShape> refused = new HashSet<>();

    /** @param library stays the caller's */
    CudaMatrix(CudaProduct.Library library) {
        this.library = library;
    }

    void putInto(CudaBackend backend) {
        backend.put(
                MatMul.class,
                (op, i, a) -> product(
                        backend,
                        shape(op, i),
                        new Places(
                                a.input(0),
                                a.input(1),
                                op.bias() == Operand.PRESENT ? a.input(2) : 0,
                                op.addend() == Operand.PRESENT
                                        ? a.input(i.inputs().size() - 1)
                                        : 0,
                                0,
                                a.output(0),
                                a.workspace())));
        backend.put(
                BatchedMatMul.class,
                (op, i, a) -> product(
                        backend,
                        shape(op, i),
                        new Places(
                                a.input(0),
                                a.input(1),
                                0,
                                op.addend() == Operand.PRESENT ? a.input(2) : 0,
                                0,
                                a.output(0),
                                a.workspace())));
        backend.putWorkspace(MatMul.class, i -> workspaceBytes(shape((MatMul) i.op(), i)));
        backend.putWorkspace(BatchedMatMul.class, i -> workspaceBytes(shape((BatchedMatMul) i.op(), i)));
        putFused(backend, LinearGrad.class, (op, i, a) -> linearGrad(backend, op, i, a));
        putFused(
                backend,
                MatMulGeluGrad.class,
                (op, i, a) -> product(
                        backend,
                        shape(i),
                        new Places(a.input(0), a.input(1), 0, 0, a.input(2), a.output(0), a.workspace())));
    }

    /** A product with a gradient's epilogue where cuBLASLt has it, and kernels beside a plain product elsewhere. */
    private <T extends Op & Fused> void putFused(CudaBackend backend, Class<T> type, CudaBackend.Lowering<T> riding) {
        backend.put(type, (op, i, a) -> isPossible(shape(i)) ? riding.lower(op, i, a) : backend.lowerParts(op, i, a));
        backend.putWorkspace(
                type,
                i -> isPossible(shape(i))
                        ? sumsBytes(i) + workspaceBytes(shape(i))
                        : backend.workspaceBytesOfParts((Fused) i.op(), i));
    }

    private boolean isPossible(ProductShape shape) {
        try (CudaProduct product = new CudaProduct(library, shape)) {
            if (!product.isPossible() && refused.add(shape)) {
                LOG.info("cuBLASLt does not compute {}; the gradient takes a kernel more", shape);
            }
            return product.isPossible();
        }
    }

    long workspaceBytes(ProductShape shape) {
        try (CudaProduct product = new CudaProduct(library, shape)) {
            return product.workspaceBytes();
        }
    }

    private Runnable product(CudaBackend backend, ProductShape shape, Places places) {
        return make(shape).at(places, backend.streams().compute());
    }

    /** A product that lives as long as this. */
    CudaProduct make(ProductShape shape) {
        CudaProduct product = new CudaProduct(library, shape);
        products.add(product);
        if (!product.isPossible()) {
            throw new CudaException("cublasLtMatmulAlgoGetHeuristic", 0, "cuBLASLt knows no way for " + shape);
        }
        return product;
    }

    /** cuBLASLt adds to dw but not to db, so that db is added up by a kernel. */
    private Runnable linearGrad(CudaBackend backend, LinearGrad op, Instruction i, Addresses a) {
        boolean adds = op.addends() == Operand.PRESENT;
        long sums = adds ? a.workspace() : a.output(1);
        Runnable product = product(
                backend,
                shape(i),
                new Places(
                        a.input(0),
                        a.input(1),
                        sums,
                        adds ? a.input(2) : 0,
                        0,
                        a.output(0),
                        a.workspace() + sumsBytes(i)));
        if (!adds) {
            return product;
        }
        Value db = i.outputs().get(1);
        Instruction add = new Instruction(new Elementwise.Add(), List.of(db, db), List.of(db), i.path());
        long[] operands = {sums, a.input(3)};
        return CudaAttention.inOrder(product, backend.lower(add, new Addresses(operands, new long[] {a.output(1)}, 0)));
    }

    /** Room for the sums of this call, before cuBLASLt's own. */
    private static long sumsBytes(Instruction i) {
        return i.op() instanceof LinearGrad op && op.addends() == Operand.PRESENT
                ? Slice.align(i.outputs().get(1).type().bytes())
                : 0;
    }

    /** Of a fused product: its first part's, with an epilogue. */
    private static ProductShape shape(Instruction whole) {
        Instruction i = ((Fused) whole.op()).parts(whole).get(0);
        boolean ofWeights = whole.op() instanceof LinearGrad;
        return shape(
                (MatMul) i.op(),
                i,
                ofWeights ? Epilogue.BIAS_GRAD : Epilogue.GELU_GRAD,
                ofWeights ? whole.outputs().get(1).type().dtype() : null);
    }

    private static ProductShape shape(MatMul op, Instruction i) {
        DType bias = op.bias() == Operand.PRESENT ? i.inputs().get(2).type().dtype() : null;
        return shape(op, i, Epilogue.of(op), bias);
    }

    private static ProductShape shape(MatMul op, Instruction i, Epilogue epilogue, DType vector) {
        Shape x = CudaBackend.shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        return new ProductShape(
                1,
                y.rows(),
                y.width(),
                op.transpose() == Transpose.X ? x.rows() : x.width(),
                op.transpose() == Transpose.X,
                op.transpose() == Transpose.W,
                input(i),
                output(i),
                op.addend() == Operand.PRESENT,
                epilogue,
                vector,
                null);
    }

    private static ProductShape shape(BatchedMatMul op, Instruction i) {
        Shape x = CudaBackend.shape(i, 0);
        Shape y = i.outputs().get(0).type().shape();
        return new ProductShape(
                y.dim(0),
                y.dim(1),
                y.dim(2),
                x.dim(op.transpose() == Transpose.X ? 1 : 2),
                op.transpose() == Transpose.X,
                op.transpose() == Transpose.W,
                input(i),
                output(i),
                op.addend() == Operand.PRESENT,
                Epilogue.NONE,
                null,
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
    }
}
