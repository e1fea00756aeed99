package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.CUDA_ERROR_NOT_READY;
import static org.bytedeco.cuda.global.cudart.CU_EVENT_DISABLE_TIMING;
import static org.bytedeco.cuda.global.cudart.CU_STREAM_NON_BLOCKING;
import static org.bytedeco.cuda.global.cudart.cuEventCreate;
import static org.bytedeco.cuda.global.cudart.cuEventDestroy;
import static org.bytedeco.cuda.global.cudart.cuEventRecord;
import static org.bytedeco.cuda.global.cudart.cuEventSynchronize;
import static org.bytedeco.cuda.global.cudart.cuStreamCreate;
import static org.bytedeco.cuda.global.cudart.cuStreamDestroy;
import static org.bytedeco.cuda.global.cudart.cuStreamQuery;
import static org.bytedeco.cuda.global.cudart.cuStreamSynchronize;
import static org.bytedeco.cuda.global.cudart.cuStreamWaitEvent;

import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.locks.LockSupport;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;

/**
 * The streams of one rank: one for kernels, and one for each group of ranks or pipeline link, on which its exchanges run while
 * kernels do. Order between them comes from events alone.
 */
final class CudaStreams implements AutoCloseable {
    private static final long POLL_NANOS = 1_000_000;

    private final CUstream_st compute = create();
    private final Map<String, CUstream_st> exchanges = new HashMap<>();
    private final List<CUevent_st> events = new ArrayList<>();

    CUstream_st compute() {
        return compute;
    }

    /** The stream of the exchanges of a name. */
    CUstream_st exchange(String name) {
        return exchanges.computeIfAbsent(name, key -> create());
    }

    private static CUstream_st create() {
        CUstream_st stream = new CUstream_st();
        check("cuStreamCreate", cuStreamCreate(stream, CU_STREAM_NON_BLOCKING));
        return stream;
    }

    /** An event, destroyed with the streams. */
    CUevent_st event() {
        CUevent_st event = new CUevent_st();
        check("cuEventCreate", cuEventCreate(event, CU_EVENT_DISABLE_TIMING));
        events.add(event);
        return event;
    }

    /** Work given to waiting after this call begins when what was given to running before it has ended. */
    static void order(CUstream_st running, CUevent_st event, CUstream_st waiting) {
        record(event, running);
        check("cuStreamWaitEvent", cuStreamWaitEvent(waiting, event, 0));
    }

    static void record(CUevent_st event, CUstream_st stream) {
        check("cuEventRecord", cuEventRecord(event, stream));
    }

    /** What is given to the compute stream from now on begins when the event has been reached. */
    void await(CUevent_st event) {
        check("cuStreamWaitEvent", cuStreamWaitEvent(compute, event, 0));
    }

    /** Returns when the event has been reached. */
    static void block(CUevent_st event) {
        check("cuEventSynchronize", cuEventSynchronize(event));
    }

    /** Returns when a stream has done all that it was given. */
    static void block(CUstream_st stream) {
        check("cuStreamSynchronize", cuStreamSynchronize(stream));
    }

    /** Whether the compute stream comes to its end within a time. */
    boolean endsWithin(Duration time) {
        long end = System.nanoTime() + time.toNanos();
        int state = cuStreamQuery(compute);
        while (state == CUDA_ERROR_NOT_READY && System.nanoTime() < end) {
            LockSupport.parkNanos(POLL_NANOS);
            state = cuStreamQuery(compute);
        }
        return state != CUDA_ERROR_NOT_READY;
    }

    @Override
    public void close() {
        events.forEach(event -> check("cuEventDestroy", cuEventDestroy(event)));
        exchanges.values().forEach(stream -> check("cuStreamDestroy", cuStreamDestroy(stream)));
        check("cuStreamDestroy", cuStreamDestroy(compute));
    }
}
