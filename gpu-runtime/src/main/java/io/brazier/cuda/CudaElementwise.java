package io.brazier.cuda;

import static io.brazier.cuda.CudaBackend.shape;
import static io.brazier.cuda.CudaBackend.suffix;

import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Cast;
import io.brazier.program.Elementwise;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Value;
import io.brazier.tensor.Range;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.List;

/** Launches of elementwise.cu. */
final class CudaElementwise {
    private static final String FILE = "elementwise.cu";

    private CudaElementwise() {}

    static void putInto(CudaBackend backend) {
        backend.put(Elementwise.Add.class, (op, i, a) -> {
            Value y = i.outputs().get(0);
            return backend.launch(FILE, "add" + suffix(y))
                    .over(vectors(y))
                    .pointers(a.input(0), a.input(1), a.output(0))
                    .longs(shape(i, 0).numElements())
                    .build();
        });
        backend.put(Elementwise.Scale.class, (op, i, a) -> scale(backend, i, a, op.factor()));
        backend.put(Elementwise.Share.class, (op, i, a) -> scale(backend, i, a, 1.0 / op.size()));
        backend.put(Elementwise.Dropout.class, (op, i, a) -> dropout(backend, op, i, a));
        backend.put(Elementwise.AddBias.class, (op, i, a) -> {
            Value y = i.outputs().get(0);
            Shape x = shape(i, 0);
            return backend.launch(
                            FILE, "add_bias" + suffix(y) + suffix(i.inputs().get(1)))
                    .over(vectors(y))
                    .pointers(a.input(0), a.input(1), op.addend() == Operand.PRESENT ? a.input(2) : 0, a.output(0))
                    .longs(x.rows(), x.width())
                    .build();
        });
        backend.put(Cast.class, (op, i, a) -> {
            Value x = i.inputs().get(0);
            if (x.type().dtype() == op.to()) {
                return () -> backend.copy(a.output(0), a.input(0), x.type().bytes());
            }
            return backend.launch(FILE, "cast" + suffix(x) + suffix(i.outputs().get(0)))
                    .over(vectors(x))
                    .pointers(a.input(0), a.output(0))
                    .longs(shape(i, 0).numElements())
                    .build();
        });
    }

    /** Adds how many elements of a value are infinite or not a number to an i32. */
    static Runnable countNonfinite(CudaBackend backend, Value x, long address, long counter) {
        return backend.launch(FILE, "count_nonfinite" + suffix(x))
                .over(vectors(x))
                .pointers(address)
                .longs(x.type().shape().numElements())
                .pointers(counter)
                .build();
    }

    /** 16-byte accesses to a value. */
    static long vectors(Value v) {
        return v.type().bytes() / 16;
    }

    private static Runnable scale(CudaBackend backend, Instruction i, Addresses a, double factor) {
        Value y = i.outputs().get(0);
        return backend.launch(FILE, "scale" + suffix(y))
                .over(vectors(y))
                .pointers(a.input(0), a.output(0))
                .longs(shape(i, 0).numElements())
                .floats(factor)
                .build();
    }

    /** A launch for each range of tokens, which all samples have. */
    private static Runnable dropout(CudaBackend backend, Elementwise.Dropout op, Instruction i, Addresses a) {
        Shape x = shape(i, 0);
        Value y = i.outputs().get(0);
        List<Runnable> launches = new ArrayList<>();
        long local = 0;
        for (Range range : op.tokens()) {
            long skipped = local * x.width() * y.type().dtype().bytes();
            long count = range.length() * x.width();
            launches.add(backend.launch(FILE, "dropout" + suffix(y))
                    .over(count / 4)
                    .samples(x.dim(0))
                    .pointers(a.input(0) + skipped, a.output(0) + skipped, a.input(1))
                    .longs(count, x.dim(1) * x.width(), range.start(), op.sequenceLength(), x.width())
                    .ints(op.stream())
                    .floats(op.rate())
                    .build());
            local += range.length();
        }
        return launches.size() == 1 ? launches.get(0) : () -> launches.forEach(Runnable::run);
    }
}
