package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.cuMemFreeHost;
import static org.bytedeco.cuda.global.cudart.cuMemHostAlloc;
import static org.bytedeco.cuda.global.cudart.cuMemcpyDtoHAsync;
import static org.bytedeco.cuda.global.cudart.cuMemcpyHtoDAsync;

import java.nio.ByteBuffer;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * Page-locked host memory between Java's buffers and the device, in slots that are used in turn: an upload returns as soon as its
 * bytes are in a slot, and waits only for a slot that the device still reads.
 */
final class Staging implements AutoCloseable {
    /** So many small transfers are given to the stream before the host waits for one: the inputs of some twenty micro-batches. */
    private static final int NUM_SLOTS = 64;

    private static final int SLOT_BYTES = 128 << 10;

    private final CUstream_st stream;
    private final Pointer memory;
    private final BytePointer bytes;
    private final CUevent_st[] read = new CUevent_st[NUM_SLOTS];
    private int next;

    /** Copies in the order of the compute stream. */
    Staging(CudaStreams streams) {
        stream = streams.compute();
        try (PointerPointer<Pointer> address = new PointerPointer<>(1)) {
            check("cuMemHostAlloc", cuMemHostAlloc(address, (long) NUM_SLOTS * SLOT_BYTES, 0));
            memory = address.get(Pointer.class, 0);
        }
        bytes = new BytePointer(memory).capacity((long) NUM_SLOTS * SLOT_BYTES);
        for (int slot = 0; slot < NUM_SLOTS; slot++) {
            read[slot] = streams.event();
            CudaStreams.record(read[slot], stream);
        }
    }

    /** Gives the remaining bytes of a buffer to an address of the device. */
    void upload(ByteBuffer source, long address) {
        for (long target = address; source.hasRemaining(); ) {
            int slot = take();
            int count = Math.min(SLOT_BYTES, source.remaining());
            ByteBuffer part = source.slice(source.position(), count);
            view(slot, count).asByteBuffer().put(part);
            check("cuMemcpyHtoDAsync", cuMemcpyHtoDAsync(target, view(slot, count), count, stream));
            CudaStreams.record(read[slot], stream);
            source.position(source.position() + count);
            target += count;
        }
    }

    /** Fills the remaining bytes of a buffer from the device, when the compute stream has come so far. */
    void download(long address, ByteBuffer target) {
        for (long source = address; target.hasRemaining(); ) {
            int slot = take();
            int count = Math.min(SLOT_BYTES, target.remaining());
            check("cuMemcpyDtoHAsync", cuMemcpyDtoHAsync(view(slot, count), source, count, stream));
            CudaStreams.block(stream);
            target.put(view(slot, count).asByteBuffer());
            source += count;
        }
    }

    private int take() {
        int slot = next;
        next = (next + 1) % NUM_SLOTS;
        CudaStreams.block(read[slot]);
        return slot;
    }

    private BytePointer view(int slot, int count) {
        return bytes.getPointer((long) slot * SLOT_BYTES).limit(count);
    }

    @Override
    public void close() {
        check("cuMemFreeHost", cuMemFreeHost(memory));
    }
}
