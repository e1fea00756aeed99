package io.brazier.exec;

import io.brazier.plan.RankPlan;
import io.brazier.plan.Segment;
import io.brazier.program.Fused;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import java.nio.ByteBuffer;
import java.util.List;

/** A device as plans see it: memory, and a kernel for each instruction. Not thread-safe, but for {@link #bindThread}. */
public interface Backend extends AutoCloseable {

    /** Addresses of one instruction's operands; workspace is 0 where none was asked for. */
    record Addresses(long[] inputs, long[] outputs, long workspace) {
        public long input(int x) {
            return inputs[x];
        }

        public long output(int x) {
            return outputs[x];
        }

        /** Addresses of an instruction whose values are among those of the whole, which has these. */
        private Addresses of(Instruction whole, Instruction part) {
            return new Addresses(of(whole, part.inputs()), of(whole, part.outputs()), workspace);
        }

        private long[] of(Instruction whole, List<Value> values) {
            return values.stream()
                    .mapToLong(v -> whole.inputs().contains(v)
                            ? inputs[whole.inputs().indexOf(v)]
                            : outputs[whole.outputs().indexOf(v)])
                    .toArray();
        }
    }

    /** Zeroed memory; an engine asks once. */
    long allocate(long bytes);

    void free(long address, long bytes);

    /** Scratch memory that an instruction wants, 0 for none. */
    long workspaceBytes(Instruction instruction);

    /** The kernel of an instruction, ready to run as often as one likes. */
    Runnable lower(Instruction instruction, Addresses addresses);

    /** The kernels of an instruction's parts, where there is none for the whole. */
    default Runnable lowerParts(Fused op, Instruction i, Addresses a) {
        List<Runnable> kernels =
                op.parts(i).stream().map(part -> lower(part, a.of(i, part))).toList();
        return () -> kernels.forEach(Runnable::run);
    }

    /** What {@link #lowerParts} wants. */
    default long workspaceBytesOfParts(Fused op, Instruction i) {
        return op.parts(i).stream().mapToLong(this::workspaceBytes).max().orElse(0);
    }

    /** What runs the kernels of a segment, one for each instruction, one after the other. */
    default Runnable sequence(Segment segment, Runnable[] kernels) {
        return () -> {
            for (Runnable kernel : kernels) {
                kernel.run();
            }
        };
    }

    /**
     * Begins to send or receive a slice of the arena along the pipeline; the result waits for the end.
     *
     * @param address of the first byte
     */
    Runnable start(RankPlan.Transfer transfer, long address);

    /** Copies bytes inside the device's memory. */
    void copy(long target, long source, long bytes);

    /** Copies the remaining bytes of a direct buffer to the device. */
    void upload(ByteBuffer source, long address);

    /** Fills the remaining bytes of a direct buffer from the device. */
    void download(long address, ByteBuffer target);

    void fill(long address, long numFloats, float value);

    /** Makes the calling thread ready to run kernels. */
    void bindThread();

    @Override
    void close();
}
