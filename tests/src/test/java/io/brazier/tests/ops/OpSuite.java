package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.exec.Backend;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Op.Alias;
import io.brazier.program.Ring;
import io.brazier.program.Value;
import io.brazier.tensor.TensorType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.TestInstance;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/**
 * Every row of the table whose op a back end runs against the op's plain reference, between guard bands, in place where allowed.
 * Workspaces hold garbage.
 */
@TestInstance(TestInstance.Lifecycle.PER_CLASS)
public abstract class OpSuite {
    private static final byte GUARD = (byte) 0xA5;

    /** Ops that a pass replaces by others before memory is planned. */
    private static final Set<Class<?>> EXPANDED = Set.of(Ring.RingAttention.class, Ring.RingAttentionGrad.class);

    /** Back ends that run each row; the subclass opens and closes them. */
    protected abstract List<Backend> backends();

    /** Ops that they run. */
    protected abstract Set<Class<?>> supported();

    /** Bytes before and behind each operand that nothing may write. */
    protected int guardBytes() {
        return 256;
    }

    /** What a back end adds to a row's tolerance, where its kernels round more than operands and results. */
    protected double moreTolerance(Op op, List<TensorType> types) {
        return 0;
    }

    /** Fails where the back end itself found something wrong with what a row did. */
    protected void checkAfter(String row) {}

    /** All ops that a back end meets. */
    protected static Set<Class<?>> ops() {
        Set<Class<?>> ops = allOps();
        ops.removeAll(EXPANDED);
        return ops;
    }

    static Set<Class<?>> allOps() {
        Set<Class<?>> ops = new HashSet<>();
        for (Class<?> family : Op.class.getPermittedSubclasses()) {
            ops.addAll(List.of(family.getPermittedSubclasses()));
        }
        return ops;
    }

    Stream<OpCase> cases() {
        List<OpCase> rows = OpCases.all().stream()
                .filter(c -> supported().contains(c.op().getClass()))
                .toList();
        return Stream.concat(rows.stream(), rows.stream().flatMap(c -> c.inBrainFloat().stream()));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void matchesItsReference(OpCase c) {
        for (Backend backend : backends()) {
            compare(c, backend, List.of());
        }
    }

    @ParameterizedTest
    @MethodSource("cases")
    void matchesItsReferenceInPlace(OpCase c) {
        Backend backend = backends().get(backends().size() - 1);
        for (Alias alias : c.op().aliases()) {
            boolean oneSize = c.types().get(alias.input()).dtype()
                    == c.op().infer(c.types()).get(alias.output()).dtype();
            if (alias.need() == Alias.Need.ALLOWED && oneSize) {
                compare(c, backend, List.of(alias));
            }
        }
    }

    /** Compares an op on f32 operands of some shapes with its reference. */
    protected void compare(Op op, long[]... shapes) {
        OpCase.Operand[] operands = Stream.of(shapes).map(OpCase::f32).toArray(OpCase.Operand[]::new);
        matchesItsReference(OpCase.of(op, 1e-5, operands));
    }

    private void compare(OpCase c, Backend backend, List<Alias> chosen) {
        backend.bindThread();
        List<double[]> inputs = c.draw(7);
        List<double[]> expected = c.op().reference(c.types(), inputs);
        List<TensorType> outputTypes = c.op().infer(c.types());
        List<Alias> aliases = new ArrayList<>(chosen);
        c.op().aliases().stream().filter(a -> a.need() == Alias.Need.REQUIRED).forEach(aliases::add);
        try (Memory memory = new Memory(backend, guardBytes())) {
            Instruction instruction = instruction(c.op(), c.types(), outputTypes);
            long[] in = new long[inputs.size()];
            for (int x = 0; x < in.length; x++) {
                in[x] = memory.place(c.types().get(x), inputs.get(x));
            }
            long[] out = new long[outputTypes.size()];
            for (int x = 0; x < out.length; x++) {
                int output = x;
                out[x] = aliases.stream()
                        .filter(a -> a.output() == output)
                        .mapToLong(a -> in[a.input()])
                        .findFirst()
                        .orElseGet(() -> memory.poisoned(outputTypes.get(output)));
            }
            long workspaceBytes = backend.workspaceBytes(instruction);
            long workspace = workspaceBytes == 0 ? 0 : memory.garbage(workspaceBytes);
            backend.lower(instruction, new Backend.Addresses(in, out, workspace))
                    .run();
            for (int x = 0; x < out.length; x++) {
                double tolerance = c.tolerance() + moreTolerance(c.op(), c.types());
                check(c, x, memory.read(outputTypes.get(x), out[x]), expected.get(x), tolerance);
            }
            for (int x = 0; x < in.length; x++) {
                int input = x;
                if (aliases.stream().noneMatch(a -> a.input() == input)) {
                    check(c, x, memory.read(c.types().get(x), in[x]), inputs.get(x), 0);
                }
            }
            memory.checkGuards(c.toString());
            checkAfter(c.toString());
        }
    }

    private static Instruction instruction(Op op, List<TensorType> in, List<TensorType> out) {
        List<Value> inputs = new ArrayList<>();
        in.forEach(t -> inputs.add(new Value(inputs.size(), "in" + inputs.size(), t)));
        List<Value> outputs = new ArrayList<>();
        out.forEach(t -> outputs.add(new Value(100 + outputs.size(), "out" + outputs.size(), t)));
        return new Instruction(op, inputs, outputs, "test");
    }

    private static void check(OpCase c, int output, double[] actual, double[] expected, double tolerance) {
        double largest = 1e-30;
        for (double e : expected) {
            largest = Math.max(largest, Math.abs(e));
        }
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(actual[i] - expected[i]) / largest;
            assertTrue(
                    error <= tolerance,
                    c + " operand " + output + " [" + i + "] is " + actual[i] + ", not " + expected[i]);
        }
    }

    /** Blocks between guard bands. */
    private static final class Memory implements AutoCloseable {
        private final Backend backend;
        private final int guardBytes;
        private final List<long[]> blocks = new ArrayList<>();

        Memory(Backend backend, int guardBytes) {
            this.backend = backend;
            this.guardBytes = guardBytes;
        }

        long take(long bytes) {
            long padded = bytes + 2L * guardBytes;
            long base = backend.allocate(padded);
            blocks.add(new long[] {base, padded, bytes});
            for (long guard : new long[] {base, base + guardBytes + bytes}) {
                fill(guard, guardBytes);
            }
            return base + guardBytes;
        }

        long garbage(long bytes) {
            long address = take(bytes);
            fill(address, (int) bytes);
            return address;
        }

        private void fill(long address, int bytes) {
            if (bytes > 0) {
                byte[] guard = new byte[bytes];
                Arrays.fill(guard, GUARD);
                backend.upload(buffer(bytes).put(guard).flip(), address);
            }
        }

        long place(TensorType type, double[] values) {
            long address = take(type.bytes());
            ByteBuffer b = buffer((int) type.bytes());
            for (double v : values) {
                switch (type.dtype()) {
                    case BF16 -> b.putShort((short) (Float.floatToRawIntBits((float) v) >>> 16));
                    case F32 -> b.putFloat((float) v);
                    case F64 -> b.putDouble(v);
                    case I32 -> b.putInt((int) v);
                    case I64 -> b.putLong((long) v);
                }
            }
            backend.upload(b.flip(), address);
            return address;
        }

        long poisoned(TensorType type) {
            double[] nan = new double[(int) type.shape().numElements()];
            Arrays.fill(nan, Double.NaN);
            return place(type, nan);
        }

        double[] read(TensorType type, long address) {
            ByteBuffer b = buffer((int) type.bytes());
            backend.download(address, b);
            b.flip();
            double[] values = new double[(int) type.shape().numElements()];
            for (int i = 0; i < values.length; i++) {
                values[i] = switch (type.dtype()) {
                    case BF16 -> Float.intBitsToFloat(b.getShort() << 16);
                    case F32 -> b.getFloat();
                    case F64 -> b.getDouble();
                    case I32 -> b.getInt();
                    case I64 -> b.getLong();
                };
            }
            return values;
        }

        void checkGuards(String name) {
            for (long[] block : blocks) {
                for (long guard : new long[] {block[0], block[0] + guardBytes + block[2]}) {
                    if (guardBytes == 0) {
                        continue;
                    }
                    ByteBuffer b = buffer(guardBytes);
                    backend.download(guard, b);
                    for (int i = 0; i < guardBytes; i++) {
                        assertEquals(GUARD, b.get(i), name + " wrote outside its operands");
                    }
                }
            }
        }

        private static ByteBuffer buffer(int bytes) {
            return ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
        }

        @Override
        public void close() {
            blocks.forEach(b -> backend.free(b[0], b[1]));
        }
    }
}
