package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;

import io.brazier.cuda.CudaProduct.Places;
import io.brazier.cuda.ProductShape.EightBits;
import io.brazier.cuda.ProductShape.Epilogue;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Float8;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Scaled;
import io.brazier.program.Scaled.NextScales;
import io.brazier.program.Scaled.Role;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import java.util.List;
import java.util.Locale;

/**
 * Launches of fp8.cu, and products of eight bits by cuBLASLt. That contracts the innermost dims of both operands alone, so that an
 * operand whose contracted dim is another is transposed as it is converted. Both lie in the workspace, before cuBLASLt's own.
 */
final class CudaScaled {
    /** Least compute capability whose tensor cores multiply eight bits. */
    static final int LEAST_CAPABILITY = 89;

    private static final String FILE = "fp8.cu";
    private static final int TILE = 64;
    private static final int MEASURING_THREADS = 1024;
    private static final int ELEMENTS_PER_THREAD = 16;

    /** What cuBLASLt wants its operands aligned to, and more. */
    private static final long ALIGNMENT = 256;

    private final CudaBackend backend;
    private final CudaMatrix matrix;

    CudaScaled(CudaBackend backend, CudaMatrix matrix) {
        this.backend = backend;
        this.matrix = matrix;
    }

    void putInto() {
        backend.put(ScaledMatMul.class, this::lower);
        backend.putWorkspace(
                ScaledMatMul.class,
                i -> aligned(elements(i, 0)) + aligned(elements(i, 1)) + matrix.workspaceBytes(product(i)));
        backend.put(NextScales.class, (op, i, a) -> backend.launch(FILE, "next_scales")
                .warps(shape(i, 0).rows())
                .pointers(a.output(0), a.input(1))
                .ints(shape(i, 0).rows())
                .floats(Role.INPUT.type().largest(), Role.GRADIENT.type().largest())
                .build());
    }

    private Runnable lower(ScaledMatMul op, Instruction i, Addresses a) {
        requireBrainFloats(i);
        long xState = row(a, op.x());
        long wState = row(a, op.w());
        long x8 = a.workspace();
        long w8 = x8 + aligned(elements(i, 0));
        boolean bias = op.product().bias() == Operand.PRESENT;
        boolean addend = op.product().addend() == Operand.PRESENT;
        Runnable measure = backend.launch(FILE, "measure")
                .grid(2)
                .block(MEASURING_THREADS)
                .pointers(a.input(0), a.input(1))
                .longs(elements(i, 0), elements(i, 1))
                .pointers(xState, wState)
                .floats(op.x().type().largest(), op.w().type().largest())
                .build();
        Runnable product = matrix.make(product(i))
                .scaledBy(at(xState, Scaled.INVERSE), at(wState, Scaled.INVERSE))
                .at(
                        new Places(
                                x8,
                                w8,
                                bias ? a.input(3) : 0,
                                addend ? a.input(i.inputs().size() - 1) : 0,
                                0,
                                a.output(0),
                                w8 + aligned(elements(i, 1))),
                        backend.streams().compute());
        Transpose transpose = op.product().transpose();
        List<Runnable> all = List.of(
                measure,
                quantise(op.x().type(), shape(i, 0), transpose == Transpose.X, a.input(0), x8, xState),
                quantise(op.w().type(), shape(i, 1), transpose != Transpose.W, a.input(1), w8, wState),
                product);
        return () -> all.forEach(Runnable::run);
    }

    private Runnable quantise(Float8 type, Shape shape, boolean transposed, long from, long to, long state) {
        String kernel = (transposed ? "quantise_transposed_" : "quantise_")
                + type.name().toLowerCase(Locale.ROOT);
        CudaLaunch launch = backend.launch(FILE, kernel);
        if (transposed) {
            return launch.grid(tiles(shape.width()), tiles(shape.rows()), 1)
                    .pointers(from, to, state)
                    .ints(shape.rows(), shape.width())
                    .build();
        }
        return launch.over(shape.numElements() / ELEMENTS_PER_THREAD)
                .pointers(from, to, state)
                .longs(shape.numElements())
                .build();
    }

    /** As cuBLASLt sees it: x [m, k], w [n, k]. */
    private static ProductShape product(Instruction i) {
        ScaledMatMul op = (ScaledMatMul) i.op();
        MatMul product = op.product();
        Shape y = i.outputs().get(0).type().shape();
        return new ProductShape(
                1,
                y.rows(),
                y.width(),
                elements(i, 0) / y.rows(),
                false,
                true,
                DType.BF16,
                i.outputs().get(0).type().dtype(),
                product.addend() == Operand.PRESENT,
                Epilogue.of(product),
                product.bias() == Operand.PRESENT ? i.inputs().get(3).type().dtype() : null,
                new EightBits(op.x().type(), op.w().type()));
    }

    private static void requireBrainFloats(Instruction i) {
        for (int x = 0; x < 2; x++) {
            if (i.inputs().get(x).type().dtype() != DType.BF16) {
                throw new IllegalArgumentException(i + ": operands of a product in eight bits must be bf16");
            }
        }
    }

    private static long elements(Instruction i, int input) {
        return shape(i, input).numElements();
    }

    private static long row(Addresses a, Role role) {
        return at(a.output(1), role.ordinal() * Scaled.WIDTH);
    }

    private static long at(long floats, int index) {
        return floats + (long) Float.BYTES * index;
    }

    private static long tiles(long size) {
        return (size + TILE - 1) / TILE;
    }

    private static long aligned(long bytes) {
        return (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
}
