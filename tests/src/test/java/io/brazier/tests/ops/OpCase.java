package io.brazier.tests.ops;

import io.brazier.program.Op;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import java.util.Random;

/**
 * One row of the table: an op on operands of given shapes.
 *
 * @param tolerance largest error of an output element, relative to the largest element of that output
 */
record OpCase(Op op, List<Operand> operands, double tolerance) {

    /** How operand values are drawn: uniform in [low, high), whole numbers for integer types. */
    record Operand(TensorType type, double low, double high, Draw draw) {
        Operand(TensorType type, double low, double high) {
            this(type, low, high, Draw.INDEPENDENT);
        }
    }

    /** Whether two elements of one operand may be equal. */
    enum Draw {
        INDEPENDENT,
        DISTINCT
    }

    List<TensorType> types() {
        return operands.stream().map(Operand::type).toList();
    }

    List<double[]> draw(long seed) {
        Random random = new Random(seed);
        List<double[]> values = new ArrayList<>();
        for (Operand operand : operands) {
            double[] x = new double[(int) operand.type().shape().numElements()];
            if (operand.draw() == Draw.DISTINCT) {
                values.add(distinct(operand, x.length, random));
                continue;
            }
            for (int i = 0; i < x.length; i++) {
                double v = operand.low() + random.nextDouble() * (operand.high() - operand.low());
                x[i] = integer(operand.type()) ? Math.floor(v) : narrow(operand.type(), (float) v);
            }
            values.add(x);
        }
        return values;
    }

    private static float narrow(TensorType type, float v) {
        return type.dtype() == DType.BF16 ? Float.intBitsToFloat(Float.floatToRawIntBits(v) & 0xFFFF0000) : v;
    }

    /** This row with as many f32 operands in bf16 as the op takes; none if it takes none. Results are off by their rounding. */
    Optional<OpCase> inBrainFloat() {
        List<List<Operand>> choices = new ArrayList<>(List.of(List.of()));
        for (Operand o : operands) {
            List<List<Operand>> longer = new ArrayList<>();
            for (DType dtype : o.type().dtype() == DType.F32
                    ? List.of(DType.BF16, DType.F32)
                    : List.of(o.type().dtype())) {
                TensorType type =
                        new TensorType(dtype, o.type().shape(), o.type().placements());
                for (List<Operand> chosen : choices) {
                    List<Operand> all = new ArrayList<>(chosen);
                    all.add(new Operand(type, o.low(), o.high(), o.draw()));
                    longer.add(all);
                }
            }
            choices = longer;
        }
        return choices.stream()
                .map(chosen -> new OpCase(op, chosen, tolerance + 0x1p-8))
                .filter(c -> c.numNarrow() > 0 && c.fits())
                .max(Comparator.comparingLong(OpCase::numNarrow));
    }

    private long numNarrow() {
        return types().stream().filter(t -> t.dtype() == DType.BF16).count();
    }

    private boolean fits() {
        try {
            op.infer(types());
            return true;
        } catch (IllegalArgumentException refused) {
            return false;
        }
    }

    private static double[] distinct(Operand operand, int count, Random random) {
        List<Double> all = new ArrayList<>();
        for (double v = operand.low(); v < operand.high(); v++) {
            all.add(v);
        }
        Collections.shuffle(all, random);
        return all.stream().mapToDouble(v -> v).limit(count).toArray();
    }

    static boolean integer(TensorType type) {
        return type.dtype() == DType.I32 || type.dtype() == DType.I64;
    }

    static OpCase of(Op op, double tolerance, Operand... operands) {
        return new OpCase(op, List.of(operands), tolerance);
    }

    static Operand f32(long... dims) {
        return new Operand(TensorType.of(DType.F32, dims), -2, 2);
    }

    static Operand positive(long... dims) {
        return new Operand(TensorType.of(DType.F32, dims), 0.1, 1.5);
    }

    static Operand f64(long... dims) {
        return new Operand(TensorType.of(DType.F64, dims), 0, 3);
    }

    static Operand ids(double low, double high, long... dims) {
        return new Operand(TensorType.of(DType.I32, dims), low, high);
    }

    static Operand counters(long... dims) {
        return new Operand(TensorType.of(DType.I64, dims), 0, 1000);
    }

    static Operand like(Shape shape) {
        return f32(shape.dims().stream().mapToLong(Long::longValue).toArray());
    }

    @Override
    public String toString() {
        return op.mnemonic() + " " + op + " " + types();
    }
}
