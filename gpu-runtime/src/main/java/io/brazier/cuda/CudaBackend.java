package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.cuMemAlloc;
import static org.bytedeco.cuda.global.cudart.cuMemFree;
import static org.bytedeco.cuda.global.cudart.cuMemcpyDtoDAsync;
import static org.bytedeco.cuda.global.cudart.cuMemsetD32Async;
import static org.bytedeco.cuda.global.cudart.cuMemsetD8Async;

import io.brazier.exec.Backend;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Segment;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.ToLongFunction;
import org.bytedeco.cuda.cudart.CUstream_st;

/** Lowers instructions to launches on one GPU. Everything is given to streams; only {@link #download} waits. */
public final class CudaBackend implements Backend {

    /** Makes what launches one op. */
    interface Lowering<T extends Op> {
        Runnable lower(T op, Instruction i, Addresses a);
    }

    /** How the instructions of a segment are given to the device. */
    public enum Mode {
        /** Captured once as a CUDA graph, then launched by one call. */
        GRAPH,
        /** One by one; an error names its instruction as far as the call itself told. */
        EAGER,
        /** One by one, each waited for, so that an error names its instruction; results that are not finite are errors. */
        CHECKED
    }

    /** How long the peers of a rank that ends have to join its last exchange. */
    private static final Duration LAST_EXCHANGE = Duration.ofSeconds(10);

    private final CudaDevice device;
    private final Mode mode;
    private final CudaMatrix matrix;
    private final List<CudaGraph> graphs = new ArrayList<>();
    private final FiniteCheck finite;
    private NcclGroups groups;
    private CudaCollectives collectives;
    private String place;
    private final CudaStreams streams;
    private final Staging staging;
    private final Map<Class<?>, Lowering<?>> lowerings = new HashMap<>();
    private final Map<Class<?>, ToLongFunction<Instruction>> workspaces = new HashMap<>();
    private final Map<List<Double>, Long> tables = new HashMap<>();
    private final Set<Long> allocated = new HashSet<>();

    /**
     * A back end for programs without collectives.
     *
     * @param device stays the caller's, and must outlive this back end
     */
    public CudaBackend(CudaDevice device, Mode mode) {
        this.device = device;
        this.mode = mode;
        this.place = device.toString();
        device.bind();
        streams = new CudaStreams();
        staging = new Staging(streams);
        matrix = new CudaMatrix(device.products());
        finite = mode == Mode.CHECKED ? new FiniteCheck(this) : null;
        matrix.putInto(this);
        new CudaScaled(this, matrix).putInto();
        CudaElementwise.putInto(this);
        CudaActivations.putInto(this);
        CudaNorms.putInto(this);
        CudaLookup.putInto(this);
        CudaLosses.putInto(this);
        CudaOptimizer.putInto(this);
        CudaRouting.putInto(this);
        CudaExperts.putInto(this);
        CudaAttention.putInto(this);
        CudaDecoding.putInto(this);
        CudaRing.putInto(this);
    }

    <T extends Op> void put(Class<T> type, Lowering<T> lowering) {
        lowerings.put(type, lowering);
    }

    /** Ops of a type want scratch memory. */
    void putWorkspace(Class<? extends Op> type, ToLongFunction<Instruction> bytes) {
        workspaces.put(type, bytes);
    }

    /** Ops that this back end runs. */
    public Set<Class<?>> supported() {
        return lowerings.keySet();
    }

    /** A launch of a kernel of a file such as norm.cu on the compute stream. */
    CudaLaunch launch(String file, String kernel) {
        return launch(file, kernel, streams.compute());
    }

    CudaLaunch launch(String file, String kernel, CUstream_st stream) {
        return new CudaLaunch(kernel, device.kernels().get(file, kernel), stream);
    }

    CudaStreams streams() {
        return streams;
    }

    /** The stream of kernels, for those who time them. */
    public CUstream_st computeStream() {
        return streams.compute();
    }

    /** The address of a table that a kernel reads; equal tables are one, and stay as long as this back end does. */
    long table(double[] values) {
        return tables.computeIfAbsent(Arrays.stream(values).boxed().toList(), key -> {
            long bytes = (long) Double.BYTES * values.length;
            long address = allocate(bytes);
            ByteBuffer buffer = ByteBuffer.allocateDirect((int) bytes).order(ByteOrder.nativeOrder());
            buffer.asDoubleBuffer().put(values);
            upload(buffer, address);
            return address;
        });
    }

    static Shape shape(Instruction i, int input) {
        return i.inputs().get(input).type().shape();
    }

    /** The ending of the name of a kernel for a value: _f32 or _bf16. */
    static String suffix(Value v) {
        DType type = v.type().dtype();
        return switch (type) {
            case F32 -> "_f32";
            case BF16 -> "_bf16";
            case F64, I32, I64 -> throw new IllegalArgumentException("no kernel takes " + type + " for " + v);
        };
    }

    @Override
    public long allocate(long bytes) {
        long[] address = new long[1];
        check("cuMemAlloc of " + bytes + " bytes", cuMemAlloc(address, bytes));
        allocated.add(address[0]);
        check("cuMemsetD8Async", cuMemsetD8Async(address[0], (byte) 0, bytes, streams.compute()));
        return address[0];
    }

    @Override
    public void free(long address, long bytes) {
        settle();
        allocated.remove(address);
        check("cuMemFree", cuMemFree(address));
    }

    /** Waits for the device. A rank that gives up holds exchanges that its peers may never join: they are ended. */
    private void settle() {
        if (groups != null && !streams.endsWithin(LAST_EXCHANGE)) {
            groups.abort("a rank ended amid an exchange, " + place);
        }
        CudaStreams.block(streams.compute());
    }

    @Override
    public long workspaceBytes(Instruction instruction) {
        if (instruction.op() instanceof Collective) {
            return CudaCollectives.workspaceBytes(instruction);
        }
        ToLongFunction<Instruction> bytes = workspaces.get(instruction.op().getClass());
        return bytes == null ? 0 : bytes.applyAsLong(instruction);
    }

    @Override
    @SuppressWarnings("unchecked")
    public Runnable lower(Instruction i, Addresses a) {
        Lowering<Op> lowering = (Lowering<Op>) lowerings.get(i.op().getClass());
        if (lowering == null) {
            throw new AssertionError("the CUDA back end has no kernel for " + i.op().mnemonic());
        }
        Runnable launch = lowering.lower(i.op(), i, a);
        return mode == Mode.CHECKED && !(i.op() instanceof Collective) ? finite.checked(launch, i, a) : launch;
    }

    /** Lets programs exchange data over groups that are connected for the plan; takes ownership of the groups. */
    void exchangeOver(NcclGroups connected, RankPlan plan) {
        groups = connected;
        place = "rank " + plan.rank() + ", " + device;
        collectives = new CudaCollectives(this, connected, plan);
        collectives.putIntoBackend();
    }

    /** Rank and device, for errors. */
    String place() {
        return place;
    }

    @Override
    public Runnable sequence(Segment segment, Runnable[] launches) {
        Runnable one = new SegmentLaunches(segment, launches, this);
        if (mode == Mode.GRAPH) {
            CudaGraph graph = new CudaGraph(streams.compute(), one);
            graphs.add(graph);
            one = graph;
        }
        return Ranges.around(segment.program().name(), one);
    }

    @Override
    public Runnable start(RankPlan.Transfer transfer, long address) {
        return collectives.start(transfer, address);
    }

    @Override
    public void copy(long target, long source, long bytes) {
        check("cuMemcpyDtoDAsync", cuMemcpyDtoDAsync(target, source, bytes, streams.compute()));
    }

    @Override
    public void upload(ByteBuffer source, long address) {
        staging.upload(source, address);
    }

    @Override
    public void download(long address, ByteBuffer target) {
        staging.download(address, target);
        if (groups != null) {
            groups.check();
        }
    }

    @Override
    public void fill(long address, long numFloats, float value) {
        if (numFloats > 0) {
            check(
                    "cuMemsetD32Async",
                    cuMemsetD32Async(address, Float.floatToRawIntBits(value), numFloats, streams.compute()));
        }
    }

    @Override
    public void bindThread() {
        device.bind();
    }

    @Override
    public void close() {
        settle();
        if (groups != null) {
            groups.close();
        }
        graphs.forEach(CudaGraph::close);
        matrix.close();
        if (finite != null) {
            finite.close();
        }
        allocated.forEach(address -> check("cuMemFree", cuMemFree(address)));
        staging.close();
        streams.close();
    }
}
