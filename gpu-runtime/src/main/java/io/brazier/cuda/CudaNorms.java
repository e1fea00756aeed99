package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Norm;
import io.brazier.program.Value;
import io.brazier.tensor.Shape;

/** Launches of norm.cu. Sums over rows go through parts in the workspace, whose number depends on the shape alone. */
final class CudaNorms {
    private static final String FILE = "norm.cu";

    /** Blocks that keep an H100 busy with sums over columns: four on each of 132 multiprocessors. */
    private static final long SUMMING_BLOCKS = 4 * 132;

    /** Rows that are worth a block: four for each of its warps. */
    private static final long ROWS_PER_BLOCK = 32;

    private CudaNorms() {}

    static void putInto(CudaBackend backend) {
        forward(backend);
        gradInput(backend);
        columns(backend);
    }

    private static void forward(CudaBackend backend) {
        backend.put(Norm.LayerNorm.class, (op, i, a) -> {
            Value gamma = i.inputs().get(1);
            if (gamma.type().dtype() != i.inputs().get(2).type().dtype()) {
                throw new AssertionError("no kernel takes gamma " + gamma + " with beta "
                        + i.inputs().get(2));
            }
            return rows(backend, "layer_norm", i, gamma)
                    .pointers(a.input(0), a.input(1), a.input(2), a.output(0), a.output(1), a.output(2))
                    .ints(shape(i, 0).width())
                    .floats(op.epsilon())
                    .build();
        });
        backend.put(Norm.RmsNorm.class, (op, i, a) -> rows(
                        backend, "rms_norm", i, i.inputs().get(1))
                .pointers(a.input(0), a.input(1), a.output(0), a.output(1))
                .ints(shape(i, 0).width())
                .floats(op.epsilon())
                .build());
    }

    private static void gradInput(CudaBackend backend) {
        backend.put(Norm.LayerNormGradInput.class, (op, i, a) -> rows(
                        backend, "layer_norm_grad", i, i.inputs().get(2))
                .pointers(a.input(0), a.input(1), a.input(2), a.input(3), a.input(4))
                .pointers(op.addend() == Operand.PRESENT ? a.input(5) : 0, a.output(0))
                .ints(shape(i, 0).width())
                .build());
        backend.put(Norm.RmsNormGradInput.class, (op, i, a) -> rows(
                        backend, "rms_norm_grad", i, i.inputs().get(2))
                .pointers(a.input(0), a.input(1), a.input(2), a.input(3))
                .pointers(op.addend() == Operand.PRESENT ? a.input(4) : 0, a.output(0))
                .ints(shape(i, 0).width())
                .build());
    }

    /** A block for each row, of as many threads as the row has vectors. */
    private static CudaLaunch rows(CudaBackend backend, String kernel, Instruction i, Value gamma) {
        Value x = i.inputs().get(0);
        long vectors = shape(i, 0).width() * x.type().dtype().bytes() / 16;
        return backend.launch(FILE, kernel + suffix(x) + suffix(gamma))
                .grid(shape(i, 0).rows())
                .block((int) Math.max(32, Math.min(256, (vectors + 31) / 32 * 32)));
    }

    private static void columns(CudaBackend backend) {
        backend.put(Norm.LayerNormGradParameters.class, (op, i, a) -> {
            boolean accumulate = op.addends() == Operand.PRESENT;
            Runnable parts = partsLaunch(backend, "layer_norm_columns", i)
                    .pointers(a.input(0), a.input(1), a.input(2), a.input(3), a.workspace())
                    .longs(shape(i, 0).rows())
                    .ints(shape(i, 0).width())
                    .build();
            Runnable gamma = add(backend, i, a.workspace(), accumulate ? a.input(4) : 0, a.output(0));
            long betas = a.workspace() + partsBytes(i);
            Runnable beta = add(backend, i, betas, accumulate ? a.input(5) : 0, a.output(1));
            return () -> {
                parts.run();
                gamma.run();
                beta.run();
            };
        });
        backend.putWorkspace(Norm.LayerNormGradParameters.class, i -> 2 * partsBytes(i));
        backend.put(Norm.RmsNormGradParameters.class, (op, i, a) -> {
            Runnable parts = partsLaunch(backend, "rms_norm_columns", i)
                    .pointers(a.input(0), a.input(1), a.input(2), a.workspace())
                    .longs(shape(i, 0).rows())
                    .ints(shape(i, 0).width())
                    .build();
            return summed(backend, i, a, parts, op.addend() == Operand.PRESENT ? a.input(3) : 0);
        });
        backend.putWorkspace(Norm.RmsNormGradParameters.class, CudaNorms::partsBytes);
        backend.put(SumRows.class, (op, i, a) -> {
            Runnable parts = partsLaunch(backend, "sum_columns", i)
                    .pointers(a.input(0), a.workspace())
                    .longs(shape(i, 0).rows())
                    .ints(shape(i, 0).width())
                    .build();
            return summed(backend, i, a, parts, op.addend() == Operand.PRESENT ? a.input(1) : 0);
        });
        backend.putWorkspace(SumRows.class, CudaNorms::partsBytes);
    }

    private static Runnable summed(CudaBackend backend, Instruction i, Addresses a, Runnable parts, long addend) {
        return CudaAttention.inOrder(parts, add(backend, i, a.workspace(), addend, a.output(0)));
    }

    private static CudaLaunch partsLaunch(CudaBackend backend, String kernel, Instruction i) {
        return backend.launch(FILE, kernel + suffix(i.inputs().get(0))).grid(tiles(i), slices(i), 1);
    }

    private static Runnable add(CudaBackend backend, Instruction i, long parts, long addend, long y) {
        Shape x = shape(i, 0);
        return backend.launch(FILE, "add_parts")
                .grid((x.width() + 31) / 32)
                .pointers(parts, addend, y)
                .ints(slices(i), x.width())
                .build();
    }

    private static long partsBytes(Instruction i) {
        return Float.BYTES * slices(i) * shape(i, 0).width();
    }

    /** Blocks side by side: each takes a vector of 16 bytes for each lane of a warp. */
    private static long tiles(Instruction i) {
        long columns = 32 * 16 / i.inputs().get(0).type().dtype().bytes();
        return (shape(i, 0).width() + columns - 1) / columns;
    }

    private static long slices(Instruction i) {
        long rows = shape(i, 0).rows();
        return Math.max(1, Math.min(SUMMING_BLOCKS / tiles(i), (rows + ROWS_PER_BLOCK - 1) / ROWS_PER_BLOCK));
    }
}
