package io.brazier.tests.parity;

import io.brazier.exec.Backend;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Instruction;
import io.brazier.program.Op.Alias;
import io.brazier.program.Program;
import io.brazier.program.Value;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs programs without a plan: every f32 value has memory of its own, NaN at first, but for what must be in place. */
final class ProgramRun implements AutoCloseable {
    private final Backend backend;
    private final Map<Value, Long> addresses = new HashMap<>();
    private final List<long[]> blocks = new ArrayList<>();

    ProgramRun(Backend backend) {
        this.backend = backend;
    }

    void write(Value v, double[] values) {
        ByteBuffer b = buffer(v);
        for (double x : values) {
            b.putFloat((float) x);
        }
        addresses.put(v, take(v.type().bytes()));
        backend.upload(b.flip(), addresses.get(v));
    }

    double[] read(Value v) {
        ByteBuffer b = buffer(v);
        backend.download(addresses.get(v), b);
        b.flip();
        double[] values = new double[(int) v.type().shape().numElements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = b.getFloat();
        }
        return values;
    }

    /** Runs a program on the calling thread; its inputs must have been written or computed before. */
    void run(Program program) {
        backend.bindThread();
        for (Instruction i : program.instructions()) {
            for (int x = 0; x < i.outputs().size(); x++) {
                int output = x;
                long address = i.op().aliases().stream()
                        .filter(a -> a.output() == output && a.need() == Alias.Need.REQUIRED)
                        .findFirst()
                        .map(a -> addresses.get(i.inputs().get(a.input())))
                        .orElseGet(() -> take(i.outputs().get(output).type().bytes()));
                addresses.put(i.outputs().get(x), address);
            }
            long workspaceBytes = backend.workspaceBytes(i);
            long workspace = workspaceBytes == 0 ? 0 : take(workspaceBytes);
            long[] in = i.inputs().stream().mapToLong(addresses::get).toArray();
            long[] out = i.outputs().stream().mapToLong(addresses::get).toArray();
            backend.lower(i, new Addresses(in, out, workspace)).run();
        }
    }

    private long take(long bytes) {
        long address = backend.allocate(bytes);
        blocks.add(new long[] {address, bytes});
        backend.fill(address, bytes / Float.BYTES, Float.NaN);
        return address;
    }

    private static ByteBuffer buffer(Value v) {
        return ByteBuffer.allocateDirect((int) v.type().bytes()).order(ByteOrder.nativeOrder());
    }

    @Override
    public void close() {
        blocks.forEach(b -> backend.free(b[0], b[1]));
    }
}
