package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.cuda.CudaBackend;
import io.brazier.cuda.CudaDevice;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Float8;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Scaled;
import io.brazier.program.Scaled.Role;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/**
 * Conversion of every bf16 to eight bits, by the op's reference and by the kernels, against the table of all 256 codes: bf16 has the
 * codes, all that lies halfway between two, what is beyond the largest, and what is no number.
 */
@Tag("cuda")
@Tag(TestGpu.TAG)
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
class Float8Test {
    private static final int NUM_CODES = 1 << 16;
    private static final int WIDTH = 16;

    private CudaDevice device;
    private CudaBackend backend;

    @BeforeAll
    void open() {
        TestGpu.load();
        device = CudaDevice.open(0);
        backend = new CudaBackend(device, CudaBackend.Mode.EAGER);
    }

    @AfterAll
    void close() {
        backend.close();
        device.close();
    }

    private static double brainFloat(int code) {
        return Float.intBitsToFloat(code << 16);
    }

    /** The code, or that of infinity in the row where NaNs would hide what becomes of it. */
    private static int shown(int code) {
        return (code & 0x7FF0) == 0x7F80 ? code & 0xFFF0 : code;
    }

    /** Finite magnitudes by value, with their codes: 1-4-3 with bias 7, all ones NaN; 1-5-2 with bias 15, all-ones exponents special. */
    private static TreeMap<Double, Integer> table(Float8 type) {
        int mantissaBits = type == Float8.E4M3 ? 3 : 2;
        int bias = type == Float8.E4M3 ? 7 : 15;
        TreeMap<Double, Integer> table = new TreeMap<>();
        for (int code = 0; code < 0x80; code++) {
            int exponent = code >> mantissaBits;
            double fraction = (code & (1 << mantissaBits) - 1) / (double) (1 << mantissaBits);
            boolean special = type == Float8.E4M3 ? code == 0x7F : exponent == 31;
            if (!special) {
                table.put(
                        exponent == 0
                                ? fraction * Math.pow(2, 1 - bias)
                                : (1 + fraction) * Math.pow(2, exponent - bias),
                        code);
            }
        }
        return table;
    }

    /** The nearest of the table; of two at one distance the one with the even code. */
    private static double nearest(TreeMap<Double, Integer> table, double x) {
        if (Double.isNaN(x) || Double.isInfinite(x)) {
            return Double.NaN;
        }
        Map.Entry<Double, Integer> below = table.floorEntry(Math.abs(x));
        Map.Entry<Double, Integer> above = table.ceilingEntry(Math.abs(x));
        double magnitude;
        if (above == null) {
            magnitude = below.getKey();
        } else {
            double down = Math.abs(x) - below.getKey();
            double up = above.getKey() - Math.abs(x);
            boolean lower = down < up || down == up && below.getValue() % 2 == 0;
            magnitude = lower ? below.getKey() : above.getKey();
        }
        return Math.copySign(magnitude, x);
    }

    @ParameterizedTest
    @EnumSource(Float8.class)
    void theReferenceTakesTheNearestCode(Float8 type) {
        TreeMap<Double, Integer> table = table(type);
        assertEquals(type == Float8.E4M3 ? 127 : 124, table.size());
        assertEquals(table.lastKey(), type.largest());
        for (int code = 0; code < NUM_CODES; code++) {
            double x = brainFloat(code);
            assertEquals(nearest(table, x), type.round(x), type + " of " + x);
        }
    }

    @ParameterizedTest
    @CsvSource({"NONE,INPUT,1", "X,INPUT,1", "NONE,GRADIENT,1", "X,GRADIENT,1", "NONE,INPUT,0.3", "X,GRADIENT,37.5"})
    void kernelsTakeTheNearestCode(Transpose transpose, Role role, float scale) {
        TreeMap<Double, Integer> table = table(role.type());
        // Sixteen codes are multiplied by the unit matrix; either all of them are numbers or none is.
        boolean transposed = transpose == Transpose.X;
        int rows = NUM_CODES / WIDTH;
        float[] state = new float[3 * Scaled.WIDTH];
        state[role.ordinal() * Scaled.WIDTH + Scaled.SCALE] = scale;
        state[role.ordinal() * Scaled.WIDTH + Scaled.INVERSE] = 1;
        Role other = transposed && role == Role.INPUT ? Role.GRADIENT : Role.WEIGHT;
        state[other.ordinal() * Scaled.WIDTH + Scaled.SCALE] = 1;
        state[other.ordinal() * Scaled.WIDTH + Scaled.INVERSE] = 1;
        ByteBuffer x = buffer(2 * NUM_CODES);
        for (int code = 0; code < NUM_CODES; code++) {
            int index = transposed ? code % WIDTH * rows + code / WIDTH : code;
            x.putShort(2 * index, (short) shown(code));
        }
        TensorType type = transposed ? bf16(WIDTH, rows) : bf16(rows, WIDTH);
        ByteBuffer y = run(new ScaledMatMul(MatMul.plain(transpose), role, other), type, x, state);
        for (int code = 0; code < NUM_CODES; code++) {
            double value = brainFloat(shown(code));
            double expected = nearest(table, (float) value * scale);
            expected = Double.isFinite(value) ? saturated(table, expected, code) : Double.NaN;
            double actual = transposed ? y.getFloat(4 * code) : Float.intBitsToFloat(y.getShort(2 * code) << 16);
            assertEquals(expected, actual, role + " of " + value + " * " + scale);
        }
        float seen = state[role.ordinal() * Scaled.WIDTH + Scaled.SEEN];
        assertEquals(Float.POSITIVE_INFINITY, seen, "the largest magnitude, infinities included");
        TestGpu.assertNoViolations("conversion");
    }

    /** A number whose product with the scale is beyond f32 is finite all the same; sums of zeros and -0 are 0. */
    private static double saturated(TreeMap<Double, Integer> table, double nearest, int code) {
        double finite = Double.isNaN(nearest) ? Math.copySign(table.lastKey(), brainFloat(code)) : nearest;
        return finite == 0 ? 0.0 : finite;
    }

    private static TensorType bf16(long... dims) {
        return TensorType.of(DType.BF16, dims);
    }

    private static ByteBuffer buffer(int bytes) {
        return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
    }

    /** x by the unit matrix; the state is replaced by what the op leaves. */
    private ByteBuffer run(ScaledMatMul op, TensorType xType, ByteBuffer x, float[] state) {
        ByteBuffer unit = buffer(2 * WIDTH * WIDTH);
        for (int d = 0; d < WIDTH; d++) {
            unit.putShort(2 * d * (WIDTH + 1), (short) 0x3F80);
        }
        ByteBuffer states = buffer(4 * state.length);
        states.asFloatBuffer().put(state);
        List<TensorType> types = List.of(xType, bf16(WIDTH, WIDTH), Scaled.state());
        List<Value> values = new ArrayList<>();
        types.forEach(t -> values.add(new Value(values.size(), "v", t)));
        List<Value> outputs = new ArrayList<>();
        op.infer(types).forEach(t -> outputs.add(new Value(10 + outputs.size(), "y", t)));
        Instruction i = new Instruction(op, values, outputs, "test");
        ByteBuffer y = buffer((int) outputs.get(0).type().bytes());
        long[] bytes = {x.capacity(), unit.capacity(), states.capacity(), y.capacity(), backend.workspaceBytes(i)};
        long[] at = new long[bytes.length];
        for (int b = 0; b < bytes.length; b++) {
            at[b] = backend.allocate(bytes[b]);
        }
        backend.upload(x, at[0]);
        backend.upload(unit, at[1]);
        backend.upload(states, at[2]);
        backend.lower(i, new Addresses(new long[] {at[0], at[1], at[2]}, new long[] {at[3], at[2]}, at[4]))
                .run();
        backend.download(at[3], y);
        backend.download(at[2], states.clear());
        states.clear().asFloatBuffer().get(state);
        for (int b = 0; b < bytes.length; b++) {
            backend.free(at[b], bytes[b]);
        }
        return y;
    }

    @Test
    void aTableHasBothSidesOfEveryTie() {
        TreeMap<Double, Integer> table = table(Float8.E4M3);
        assertEquals(16, nearest(table, 17), "17 lies halfway between 16 and 18, whose code is odd");
        assertEquals(20, nearest(table, 19), "19 lies halfway between 18 and 20");
        assertEquals(448, nearest(table, 1e9));
        assertEquals(-0.001953125, nearest(table, -0.0015));
    }
}
