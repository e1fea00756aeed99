package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_ILLEGAL_ADDRESS;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_INVALID_HANDLE;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_INVALID_VALUE;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_NOT_READY;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_OUT_OF_MEMORY;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_STREAM_CAPTURE_UNJOINED;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
import static org.bytedeco.cuda.global.cudart.CUDA_SUCCESS;
import static org.bytedeco.cuda.global.cudart.CU_EVENT_DISABLE_TIMING;
import static org.bytedeco.cuda.global.cudart.CU_STREAM_NON_BLOCKING;
import static org.bytedeco.cuda.global.cudart.cuCtxSynchronize;
import static org.bytedeco.cuda.global.cudart.cuEventCreate;
import static org.bytedeco.cuda.global.cudart.cuEventElapsedTime;
import static org.bytedeco.cuda.global.cudart.cuEventRecord;
import static org.bytedeco.cuda.global.cudart.cuGraphInstantiate;
import static org.bytedeco.cuda.global.cudart.cuGraphLaunch;
import static org.bytedeco.cuda.global.cudart.cuMemAlloc;
import static org.bytedeco.cuda.global.cudart.cuMemFree;
import static org.bytedeco.cuda.global.cudart.cuMemFreeHost;
import static org.bytedeco.cuda.global.cudart.cuMemHostAlloc;
import static org.bytedeco.cuda.global.cudart.cuMemcpyDtoHAsync;
import static org.bytedeco.cuda.global.cudart.cuMemcpyHtoDAsync;
import static org.bytedeco.cuda.global.cudart.cuMemsetD32Async;
import static org.bytedeco.cuda.global.cudart.cuStreamBeginCapture;
import static org.bytedeco.cuda.global.cudart.cuStreamCreate;
import static org.bytedeco.cuda.global.cudart.cuStreamEndCapture;
import static org.bytedeco.cuda.global.cudart.cuStreamSynchronize;
import static org.bytedeco.cuda.global.cudart.cuStreamWaitEvent;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaDevice;
import java.util.List;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The stand-in for the driver, through the real presets: what it does, and that it catches planted mistakes. */
@Tag("cuda")
class SimulatedDriverTest {

    /** Devices that no other test uses; a test that ends its device's context takes one of its own, the others share the last. */
    private static final int SHARED = 11;

    private CudaDevice device;

    @BeforeAll
    static void load() {
        Cudasim.load();
    }

    @BeforeEach
    void open() {
        Cudasim.takeViolations();
        device = CudaDevice.open(SHARED);
    }

    @AfterEach
    void nothingIsLeft() {
        Cudasim.clearFaults();
        assertArrayEquals(new String[0], Cudasim.takeViolations());
    }

    @Test
    void aDeviceIsOpenedByItsIndexOrItsUuid() {
        String uuid = device.uuid();
        assertTrue(uuid.startsWith("GPU-"), uuid);
        for (String address : List.of("" + SHARED, uuid)) {
            try (CudaDevice found = CudaDevice.open(address)) {
                assertEquals(SHARED, found.ordinal());
            }
        }
        for (String address : List.of("99", "-1", "", "GPU-00000000")) {
            IllegalArgumentException refused =
                    assertThrows(IllegalArgumentException.class, () -> CudaDevice.open(address));
            assertTrue(refused.getMessage().contains("GPU-51a7ed0b"), refused.getMessage());
        }
    }

    @Test
    void copiesFillsAndGraphs() {
        CUstream_st stream = stream();
        long x = allocate(40);
        check(cuStreamBeginCapture(stream, 1));
        check(cuMemsetD32Async(x, 7, 10, stream));
        CUgraph_st graph = new CUgraph_st();
        check(cuStreamEndCapture(stream, graph));
        CUgraphExec_st executable = new CUgraphExec_st();
        check(cuGraphInstantiate(executable, graph, 0));
        check(cuMemsetD32Async(x, 3, 10, stream));
        assertEquals(3, read(x, 10, stream)[9]);
        check(cuGraphLaunch(executable, stream));
        assertEquals(7, read(x, 10, stream)[9]);
        check(cuMemFree(x));
    }

    @Test
    void aCopyFromPageLockedMemoryReadsItLate() {
        CUstream_st stream = stream();
        long x = allocate(4);
        try (PointerPointer<Pointer> made = new PointerPointer<>(1)) {
            check(cuMemHostAlloc(made, 4, 0));
            IntPointer host = new IntPointer(made.get(Pointer.class, 0)).capacity(1);
            host.put(0, 1);
            check(cuMemcpyHtoDAsync(x, host, 4, stream));
            host.put(0, 2);
            assertEquals(2, read(x, 1, stream)[0]);
            check(cuMemFreeHost(host));
        }
        check(cuMemFree(x));
    }

    @Test
    void aMissingWaitBetweenStreamsIsARace() {
        CUstream_st first = stream();
        CUstream_st second = stream();
        CUevent_st event = new CUevent_st();
        check(cuEventCreate(event, 0));
        long x = allocate(40);
        check(cuMemsetD32Async(x, 7, 10, first));
        check(cuEventRecord(event, first));
        check(cuStreamWaitEvent(second, event, 0));
        check(cuMemsetD32Async(x, 8, 10, second));
        check(cuCtxSynchronize());
        assertArrayEquals(new String[0], Cudasim.takeViolations());
        check(cuMemsetD32Async(x, 9, 1, first));
        check(cuCtxSynchronize());
        check(cuMemsetD32Async(x, 7, 1, first));
        check(cuMemsetD32Async(x, 8, 1, second));
        check(cuCtxSynchronize());
        violated("no order between their streams");
        check(cuMemFree(x));
    }

    @Test
    void memoryThatNobodyWroteIsNotRead() {
        CUstream_st stream = stream();
        long x = allocate(40);
        check(cuMemsetD32Async(x, 7, 9, stream));
        read(x, 10, stream);
        violated("reads memory that nobody wrote");
        check(cuMemFree(x));
    }

    @Test
    void memoryIsNotUsedAfterItIsFreed() {
        CudaDevice lost = CudaDevice.open(10);
        CUstream_st stream = stream();
        long x = allocate(40);
        check(cuMemFree(x));
        check(cuMemsetD32Async(x, 7, 10, stream));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream));
        violated("(freed)");
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS, cuMemsetD32Async(x, 7, 10, stream), "the error stays");
        lost.close();
    }

    @Test
    void copiesStayInsideAllocations() {
        CudaDevice lost = CudaDevice.open(9);
        CUstream_st stream = stream();
        long x = allocate(40);
        check(cuMemsetD32Async(x, 7, 11, stream));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(stream));
        violated("writes 44 bytes outside of every allocation");
        lost.close();
        violated("1 allocations of device 9 are still held");
    }

    @Test
    void addressesOfHostAndDeviceAreNotMixedUp() {
        CUstream_st stream = stream();
        long x = allocate(4);
        try (IntPointer host = new IntPointer(1)) {
            assertEquals(CUDA_ERROR_INVALID_VALUE, cuMemsetD32Async(host.address(), 7, 1, stream));
        }
        violated("is no memory of a device");
        check(cuMemFree(x));
    }

    @Test
    void capturesAreHeldToTheirRules() {
        CUstream_st stream = stream();
        CUstream_st other = stream();
        CUevent_st event = new CUevent_st();
        check(cuEventCreate(event, 0));
        long x = allocate(4);
        CUgraph_st graph = new CUgraph_st();
        check(cuStreamBeginCapture(stream, 1));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED, cuStreamSynchronize(stream));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED, cuStreamEndCapture(stream, graph));
        check(cuStreamBeginCapture(stream, 1));
        check(cuEventRecord(event, stream));
        check(cuStreamWaitEvent(other, event, 0));
        check(cuMemsetD32Async(x, 7, 1, other));
        assertEquals(CUDA_ERROR_STREAM_CAPTURE_UNJOINED, cuStreamEndCapture(stream, graph));
        check(cuMemFree(x));
    }

    @Test
    void callsFailWhereTestsPlantAnError() {
        Cudasim.failCall("cuMemAlloc", 2, CUDA_ERROR_OUT_OF_MEMORY);
        long x = allocate(4);
        assertEquals(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(new long[1], 4));
        check(cuMemFree(x));
        assertEquals(CUDA_ERROR_OUT_OF_MEMORY, cuMemAlloc(new long[1], 1L << 40), "more than the device has");
    }

    @Test
    void onlyEventsThatWereRecordedTellTheTimeBetweenThem() {
        CUstream_st stream = stream();
        CUevent_st begin = new CUevent_st();
        CUevent_st end = new CUevent_st();
        CUevent_st untimed = new CUevent_st();
        check(cuEventCreate(begin, 0));
        check(cuEventCreate(end, 0));
        check(cuEventCreate(untimed, CU_EVENT_DISABLE_TIMING));
        float[] milliseconds = {-1};
        check(cuEventRecord(begin, stream));
        check(cuEventRecord(untimed, stream));
        assertEquals(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(milliseconds, begin, end));
        assertEquals(CUDA_ERROR_INVALID_HANDLE, cuEventElapsedTime(milliseconds, begin, untimed));
        long x = allocate(4);
        check(cuMemsetD32Async(x, 7, 1, stream));
        check(cuEventRecord(end, stream));
        assertEquals(CUDA_ERROR_NOT_READY, cuEventElapsedTime(milliseconds, begin, end));
        check(cuStreamSynchronize(stream));
        check(cuEventElapsedTime(milliseconds, begin, end));
        assertTrue(milliseconds[0] > 0, () -> milliseconds[0] + " ms");
        check(cuMemFree(x));
    }

    private static void violated(String what) {
        String[] violations = Cudasim.takeViolations();
        assertTrue(violations.length > 0 && violations[0].contains(what), String.join("\n", violations));
    }

    private static CUstream_st stream() {
        CUstream_st stream = new CUstream_st();
        check(cuStreamCreate(stream, CU_STREAM_NON_BLOCKING));
        return stream;
    }

    private static long allocate(long bytes) {
        long[] address = new long[1];
        check(cuMemAlloc(address, bytes));
        return address[0];
    }

    private static int[] read(long address, int count, CUstream_st stream) {
        try (IntPointer host = new IntPointer(count)) {
            check(cuMemcpyDtoHAsync(host, address, 4L * count, stream));
            int[] values = new int[count];
            host.get(values);
            return values;
        }
    }

    private static void check(int result) {
        assertEquals(CUDA_SUCCESS, result);
    }
}
