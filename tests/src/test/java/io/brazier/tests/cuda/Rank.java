package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cudart.*;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.cuda.CudaDevice;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;

/** A simulated device, a stream and buffers on it, by the driver's own calls. Belongs to one thread. */
final class Rank implements AutoCloseable {
    final CudaDevice device;
    final CUstream_st stream = new CUstream_st();
    private final List<Long> buffers = new ArrayList<>();

    Rank(int ordinal) {
        Cudasim.load();
        device = CudaDevice.open(ordinal);
        assertEquals(CUDA_SUCCESS, cuStreamCreate(stream, CU_STREAM_NON_BLOCKING));
    }

    /** A buffer that nobody has written. */
    Pointer empty(long bytes) {
        try (LongPointer address = new LongPointer(1)) {
            assertEquals(CUDA_SUCCESS, cuMemAlloc(address, Math.max(bytes, 1)));
            buffers.add(address.get());
            return at(address.get());
        }
    }

    static Pointer at(long where) {
        return new Pointer() {
            {
                address = where;
            }
        };
    }

    Pointer upload(ByteBuffer bytes) {
        Pointer buffer = empty(bytes.capacity());
        try (BytePointer host = new BytePointer(bytes.capacity())) {
            host.asBuffer().put(bytes.duplicate().rewind());
            assertEquals(CUDA_SUCCESS, cuMemcpyHtoDAsync(buffer.address(), host, bytes.capacity(), stream));
            synchronize();
        }
        return buffer;
    }

    Pointer upload(float... values) {
        ByteBuffer bytes = ByteBuffer.allocate(4 * values.length).order(ByteOrder.nativeOrder());
        bytes.asFloatBuffer().put(values);
        return upload(bytes);
    }

    ByteBuffer download(Pointer buffer, int bytes) {
        try (BytePointer host = new BytePointer(bytes)) {
            assertEquals(CUDA_SUCCESS, cuMemcpyDtoHAsync(host, buffer.address(), bytes, stream));
            synchronize();
            ByteBuffer copy = ByteBuffer.allocate(bytes).order(ByteOrder.nativeOrder());
            copy.put(host.asByteBuffer()).rewind();
            return copy;
        }
    }

    float[] downloadFloats(Pointer buffer, int count) {
        float[] values = new float[count];
        download(buffer, 4 * count).asFloatBuffer().get(values);
        return values;
    }

    void synchronize() {
        assertEquals(CUDA_SUCCESS, cuStreamSynchronize(stream));
    }

    @Override
    public void close() {
        buffers.forEach(address -> assertEquals(CUDA_SUCCESS, cuMemFree(address)));
        assertEquals(CUDA_SUCCESS, cuStreamDestroy(stream));
        device.close();
    }
}
