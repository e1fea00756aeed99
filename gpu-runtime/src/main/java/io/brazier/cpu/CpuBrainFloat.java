package io.brazier.cpu;

import io.brazier.exec.Backend.Addresses;
import io.brazier.host.NativeLibrary;
import io.brazier.program.Cast;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Lookup.Embedding;
import io.brazier.program.Op.Alias;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;

/**
 * Runs instructions on bf16 values by f32 kernels: operands are widened in the workspace, results are rounded from there. Kernels
 * are bound by f32's rate, for which the processors' own bf16 products are no match. A cache of keys and values is widened whole.
 */
final class CpuBrainFloat {
    static {
        NativeLibrary.require();
    }

    private CpuBrainFloat() {}

    static void putInto(CpuBackend backend) {
        backend.put(Cast.class, (op, i, a) -> {
            long count = CpuBackend.shape(i, 0).numElements();
            TensorType x = i.inputs().get(0).type();
            if (x.dtype() == op.to()) {
                return () -> CpuNative.copy(a.output(0), a.input(0), x.bytes());
            }
            return op.to() == DType.F32
                    ? () -> fromBrainFloat(a.input(0), a.output(0), count)
                    : () -> toBrainFloat(a.input(0), a.output(0), count);
        });
    }

    /** Whether an instruction has operands or results in bf16 that its own kernel does not read. */
    static boolean converts(Instruction i) {
        return !(i.op() instanceof Cast)
                && !(i.op() instanceof Collective)
                && (i.inputs().stream().anyMatch(CpuBrainFloat::narrow)
                        || i.outputs().stream().anyMatch(CpuBrainFloat::narrow));
    }

    static long workspaceBytes(CpuBackend backend, Instruction i) {
        return new Layout(
                        backend,
                        i,
                        new Addresses(
                                new long[i.inputs().size()],
                                new long[i.outputs().size()],
                                0))
                .end;
    }

    static Runnable lower(CpuBackend backend, Instruction i, Addresses a) {
        Layout layout = new Layout(backend, i, a);
        Runnable kernel = layout.rows != null ? layout.rows : backend.lower(layout.wide, layout.addresses);
        return () -> {
            layout.before.forEach(Runnable::run);
            kernel.run();
            layout.after.forEach(Runnable::run);
        };
    }

    private static boolean narrow(Value v) {
        return v.type().dtype() == DType.BF16;
    }

    private static Value widened(Value v) {
        return narrow(v) ? new Value(v.id(), v.name(), v.type().as(DType.F32)) : v;
    }

    /** What one instruction does, and where its wide operands lie: after the workspace of its f32 kernel. */
    private static final class Layout {
        private final Instruction wide;
        private final Addresses addresses;
        private final List<Runnable> before = new ArrayList<>();
        private final List<Runnable> after = new ArrayList<>();
        private final Runnable rows;
        private long end;

        Layout(CpuBackend backend, Instruction i, Addresses a) {
            wide = new Instruction(
                    i.op(),
                    i.inputs().stream().map(CpuBrainFloat::widened).toList(),
                    i.outputs().stream().map(CpuBrainFloat::widened).toList(),
                    i.path());
            boolean gathers = i.op() instanceof Embedding;
            end = gathers ? 0 : align(backend.workspaceBytes(wide));
            long[] inputs = a.inputs().clone();
            long[] outputs = a.outputs().clone();
            for (int x = 0; x < inputs.length; x++) {
                if (narrow(i.inputs().get(x)) && !(gathers && x == 1)) {
                    inputs[x] = take(a.workspace(), wide.inputs().get(x));
                    long from = a.input(x);
                    long to = inputs[x];
                    long count = CpuBackend.shape(i, x).numElements();
                    before.add(() -> fromBrainFloat(from, to, count));
                }
            }
            for (int x = 0; x < outputs.length; x++) {
                if (narrow(i.outputs().get(x))) {
                    outputs[x] = place(i, x, inputs, a.workspace());
                    long from = outputs[x];
                    long to = a.output(x);
                    long count = i.outputs().get(x).type().shape().numElements();
                    after.add(() -> toBrainFloat(from, to, count));
                }
            }
            addresses = new Addresses(inputs, outputs, a.workspace());
            rows = gathers ? rows((Embedding) i.op(), i, addresses) : null;
        }

        /** The wide form of an output that must be in place is that of its input. */
        private long place(Instruction i, int output, long[] inputs, long workspace) {
            for (Alias alias : i.op().aliases()) {
                if (alias.output() == output && alias.need() == Alias.Need.REQUIRED) {
                    return inputs[alias.input()];
                }
            }
            return take(workspace, wide.outputs().get(output));
        }

        private long take(long workspace, Value v) {
            long address = workspace + end;
            end += align(v.type().bytes());
            return address;
        }

        private static long align(long bytes) {
            return (bytes + 63) / 64 * 64;
        }

        /** Of a table only the rows that are looked up are widened. */
        private static Runnable rows(Embedding op, Instruction i, Addresses a) {
            long numRows = CpuBackend.shape(i, 0).numElements();
            long width = CpuBackend.shape(i, 1).width();
            long vocabulary = CpuBackend.shape(i, 1).dim(0);
            long y = a.output(0);
            return () -> {
                brainFloatRows(a.input(0), a.input(1), y, numRows, width, vocabulary, op.firstId());
                if (i.inputs().size() == 3) {
                    CpuNative.add(y, a.input(2), y, numRows * width);
                }
            };
        }
    }

    /** y bf16 from x f32, to nearest even; NaN stays NaN. */
    static native void toBrainFloat(long x, long y, long count);

    static native void fromBrainFloat(long x, long y, long count);

    /** y [rows, width] f32 from the rows of table [vocab, width] bf16 that ids - firstId name; zero where it has none. */
    private static native void brainFloatRows(
            long ids, long table, long y, long rows, long width, long vocab, long firstId);
}
