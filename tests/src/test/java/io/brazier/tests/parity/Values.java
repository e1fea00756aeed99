package io.brazier.tests.parity;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuBackend;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Instruction;
import io.brazier.program.Op.Alias;
import io.brazier.program.Program;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs programs of f32 and i32 values on one rank, every value in memory of its own unless an op insists on an alias. */
final class Values implements AutoCloseable {
    private final CpuBackend backend;
    private final Map<Value, Long> addresses = new HashMap<>();
    private final List<long[]> blocks = new ArrayList<>();

    Values(Communicator communicator) {
        backend = new CpuBackend(1, group -> communicator);
    }

    private long allocate(long bytes) {
        if (bytes == 0) {
            return 0;
        }
        long address = backend.allocate(bytes);
        blocks.add(new long[] {address, bytes});
        return address;
    }

    void put(Value v, double[] values) {
        ByteBuffer buffer = buffer(v);
        for (double x : values) {
            if (v.type().dtype() == DType.I32) {
                buffer.putInt((int) x);
            } else {
                buffer.putFloat((float) x);
            }
        }
        addresses.put(v, allocate(v.type().bytes()));
        backend.upload(buffer.flip(), addresses.get(v));
    }

    /** The elements of an f32 value. */
    double[] get(Value v) {
        ByteBuffer buffer = buffer(v);
        backend.download(addresses.get(v), buffer);
        buffer.flip();
        double[] values = new double[(int) v.type().shape().numElements()];
        for (int i = 0; i < values.length; i++) {
            values[i] = buffer.getFloat();
        }
        return values;
    }

    private static ByteBuffer buffer(Value v) {
        return ByteBuffer.allocateDirect((int) v.type().bytes()).order(ByteOrder.nativeOrder());
    }

    void run(Program program) {
        for (Instruction i : program.instructions()) {
            long[] in = i.inputs().stream().mapToLong(addresses::get).toArray();
            long[] out = new long[i.outputs().size()];
            for (int x = 0; x < out.length; x++) {
                int output = x;
                out[x] = i.op().aliases().stream()
                        .filter(a -> a.output() == output && a.need() == Alias.Need.REQUIRED)
                        .mapToLong(a -> in[a.input()])
                        .findFirst()
                        .orElseGet(() -> allocate(i.outputs().get(output).type().bytes()));
                addresses.put(i.outputs().get(x), out[x]);
            }
            backend.lower(i, new Addresses(in, out, allocate(backend.workspaceBytes(i))))
                    .run();
        }
    }

    @Override
    public void close() {
        blocks.forEach(b -> backend.free(b[0], b[1]));
        backend.close();
    }
}
