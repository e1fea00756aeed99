package io.brazier.tests.bench;

import static org.bytedeco.cuda.global.cudart.CUDA_SUCCESS;
import static org.bytedeco.cuda.global.cudart.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
import static org.bytedeco.cuda.global.cudart.cuEventCreate;
import static org.bytedeco.cuda.global.cudart.cuEventDestroy;
import static org.bytedeco.cuda.global.cudart.cuEventElapsedTime;
import static org.bytedeco.cuda.global.cudart.cuEventRecord;
import static org.bytedeco.cuda.global.cudart.cuEventSynchronize;
import static org.bytedeco.cuda.global.cudart.cuGraphDestroy;
import static org.bytedeco.cuda.global.cudart.cuGraphExecDestroy;
import static org.bytedeco.cuda.global.cudart.cuGraphInstantiate;
import static org.bytedeco.cuda.global.cudart.cuGraphLaunch;
import static org.bytedeco.cuda.global.cudart.cuStreamBeginCapture;
import static org.bytedeco.cuda.global.cudart.cuStreamEndCapture;

import io.brazier.cuda.CudaBackend;
import io.brazier.exec.Backend;
import io.brazier.program.Instruction;
import io.brazier.program.Lookup;
import io.brazier.program.Loss;
import io.brazier.program.Op.Alias;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.SplittableRandom;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;

/**
 * Times instructions on a GPU: many runs as one graph, so that no launch is waited for, between two events. Runs take turns with
 * copies of their operands, so that the cache of the device serves none of them. Operands are noise.
 */
final class OpTimer implements AutoCloseable {

    /**
     * How much is run.
     *
     * @param coldBytes that successive runs touch before one touches the first's operands again
     * @param seconds of a graph, as far as mostRuns allow
     * @param rounds of which the median counts
     */
    record Effort(long coldBytes, double seconds, int mostRuns, int rounds) {
        /** More than twice the 50 MB of an H100's cache. */
        static final Effort FULL = new Effort(128L << 20, 5e-3, 500, 5);

        /** For devices that are simulated. */
        static final Effort LEAST = new Effort(0, 0, 1, 1);
    }

    private static final int MOST_COPIES = 64;
    private static final int NOISE_BYTES = 1 << 20;

    private final CudaBackend backend;
    private final Effort effort;
    private final CUevent_st begin = new CUevent_st();
    private final CUevent_st end = new CUevent_st();

    /** @param backend stays the caller's */
    OpTimer(CudaBackend backend, Effort effort) {
        this.backend = backend;
        this.effort = effort;
        check("cuEventCreate", cuEventCreate(begin, 0));
        check("cuEventCreate", cuEventCreate(end, 0));
    }

    /**
     * Seconds of one run.
     *
     * @param guess of it
     */
    double seconds(Instruction i, double guess) {
        int copies = (int) Math.min(MOST_COPIES, 1 + effort.coldBytes() / Math.max(1, (long) i.bytes()));
        int runs = (int) Math.max(copies, Math.min(effort.mostRuns(), Math.ceil(effort.seconds() / guess)));
        List<long[]> blocks = new ArrayList<>();
        CUgraphExec_st graph = null;
        try {
            Runnable[] launches = new Runnable[copies];
            for (int copy = 0; copy < copies; copy++) {
                launches[copy] = backend.lower(i, place(i, blocks));
            }
            graph = capture(launches, runs);
            time(graph);
            double[] seconds = new double[effort.rounds()];
            for (int round = 0; round < seconds.length; round++) {
                seconds[round] = time(graph) / runs;
            }
            Arrays.sort(seconds);
            return seconds[seconds.length / 2];
        } finally {
            blocks.forEach(block -> backend.free(block[0], block[1]));
            if (graph != null) {
                check("cuGraphExecDestroy", cuGraphExecDestroy(graph));
            }
        }
    }

    private CUgraphExec_st capture(Runnable[] launches, int runs) {
        check(
                "cuStreamBeginCapture",
                cuStreamBeginCapture(backend.computeStream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
        CUgraph_st captured = new CUgraph_st();
        try {
            for (int run = 0; run < runs; run++) {
                launches[run % launches.length].run();
            }
        } finally {
            check("cuStreamEndCapture", cuStreamEndCapture(backend.computeStream(), captured));
        }
        CUgraphExec_st graph = new CUgraphExec_st();
        check("cuGraphInstantiate", cuGraphInstantiate(graph, captured, 0));
        check("cuGraphDestroy", cuGraphDestroy(captured));
        return graph;
    }

    private double time(CUgraphExec_st graph) {
        float[] milliseconds = new float[1];
        check("cuEventRecord", cuEventRecord(begin, backend.computeStream()));
        check("cuGraphLaunch", cuGraphLaunch(graph, backend.computeStream()));
        check("cuEventRecord", cuEventRecord(end, backend.computeStream()));
        check("cuEventSynchronize", cuEventSynchronize(end));
        check("cuEventElapsedTime", cuEventElapsedTime(milliseconds, begin, end));
        return milliseconds[0] / 1e3;
    }

    private Backend.Addresses place(Instruction i, List<long[]> blocks) {
        long[] in = new long[i.inputs().size()];
        for (int x = 0; x < in.length; x++) {
            Value value = i.inputs().get(x);
            in[x] = take(value.type().bytes(), blocks);
            fill(in[x], value, ids(i));
        }
        long[] out = new long[i.outputs().size()];
        for (int x = 0; x < out.length; x++) {
            int output = x;
            out[x] = i.op().aliases().stream()
                    .filter(a -> a.output() == output && a.need() == Alias.Need.REQUIRED)
                    .mapToLong(a -> in[a.input()])
                    .findFirst()
                    .orElseGet(() -> take(i.outputs().get(output).type().bytes(), blocks));
        }
        long workspace = backend.workspaceBytes(i);
        return new Backend.Addresses(in, out, workspace == 0 ? 0 : take(workspace, blocks));
    }

    private long take(long bytes, List<long[]> blocks) {
        long address = backend.allocate(bytes);
        blocks.add(new long[] {address, bytes});
        return address;
    }

    /** Integers that an instruction takes are below this. */
    private static long ids(Instruction i) {
        if (i.op() instanceof Lookup.Embedding) {
            return i.inputs().get(1).type().shape().dim(0);
        }
        if (i.op() instanceof Lookup.EmbeddingGrad grad) {
            return grad.numRows();
        }
        return i.op() instanceof Loss ? i.inputs().get(0).type().shape().width() : 1;
    }

    private void fill(long address, Value value, long ids) {
        long bytes = value.type().bytes();
        ByteBuffer noise =
                noise((int) Math.min(bytes, NOISE_BYTES), value.type().dtype(), ids);
        long filled = noise.remaining();
        backend.upload(noise, address);
        while (filled < bytes) {
            long more = Math.min(filled, bytes - filled);
            backend.copy(address + filled, address, more);
            filled += more;
        }
    }

    private static ByteBuffer noise(int bytes, DType type, long ids) {
        SplittableRandom random = new SplittableRandom(1);
        ByteBuffer noise = ByteBuffer.allocateDirect(bytes).order(ByteOrder.nativeOrder());
        while (noise.hasRemaining()) {
            float x = (float) (2 * random.nextDouble() - 1);
            switch (type) {
                case BF16 -> noise.putShort((short) (Float.floatToRawIntBits(x) >>> 16));
                case F32 -> noise.putFloat(x);
                case F64 -> noise.putDouble(x);
                case I32 -> noise.putInt((int) random.nextLong(ids));
                case I64 -> noise.putLong(random.nextLong(ids));
            }
        }
        return noise.flip();
    }

    private static void check(String call, int result) {
        if (result != CUDA_SUCCESS) {
            throw new IllegalStateException(call + " failed with " + result);
        }
    }

    @Override
    public void close() {
        check("cuEventDestroy", cuEventDestroy(begin));
        check("cuEventDestroy", cuEventDestroy(end));
    }
}
