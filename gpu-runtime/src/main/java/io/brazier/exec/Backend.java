package io.brazier.exec;

import io.brazier.plan.RankPlan;
import io.brazier.plan.Segment;
import io.brazier.program.Instruction;
import java.nio.ByteBuffer;

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
    }

    /** Zeroed memory; an engine asks once. */
    long allocate(long bytes);

    void free(long address, long bytes);

    /** Scratch memory that an instruction wants, 0 for none. */
    long workspaceBytes(Instruction instruction);

    /** The kernel of an instruction, ready to run as often as one likes. */
    Runnable lower(Instruction instruction, Addresses addresses);

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
