package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.cuMemcpyDtoDAsync;
import static org.bytedeco.cuda.global.cudart.cuMemsetD32Async;
import static org.bytedeco.cuda.global.nccl.ncclAllGather;
import static org.bytedeco.cuda.global.nccl.ncclAllReduce;
import static org.bytedeco.cuda.global.nccl.ncclChar;
import static org.bytedeco.cuda.global.nccl.ncclFloat32;
import static org.bytedeco.cuda.global.nccl.ncclRecv;
import static org.bytedeco.cuda.global.nccl.ncclReduceScatter;
import static org.bytedeco.cuda.global.nccl.ncclSend;
import static org.bytedeco.cuda.global.nccl.ncclSum;

import io.brazier.exec.Backend.Addresses;
import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Transfer.Direction;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ReduceScatter;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Collective.Shift;
import io.brazier.program.Collective.Start;
import io.brazier.program.Instruction;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Flat;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.Pointer;

/**
 * Lowers the ops that exchange data to NCCL. Each group of ranks has a stream: an exchange begins there when the compute stream has
 * come to its Start, and the compute stream goes on behind its Wait when the exchange has ended. NCCL moves contiguous shards, so a
 * shard of an inner dim is packed or unpacked in the workspace, on the same stream.
 */
final class CudaCollectives {
    private static final String FILE = "layout.cu";

    private final CudaBackend backend;
    private final NcclGroups groups;
    private final RankPlan plan;
    private final Map<Long, CUevent_st> inFlight = new HashMap<>();
    private final Map<RankPlan.Transfer, Begun> transfers = new HashMap<>();
    private final Map<Class<?>, Rule<?>> rules = new HashMap<>();

    private interface Rule<T extends Collective> {
        Runnable exchange(T op, Nccl members, CUstream_st stream, Instruction i, Addresses a);
    }

    CudaCollectives(CudaBackend backend, NcclGroups groups, RankPlan plan) {
        this.backend = backend;
        this.groups = groups;
        this.plan = plan;
        rule(AllReduce.class, this::allReduce);
        rule(AllGather.class, this::allGather);
        rule(ReduceScatter.class, this::reduceScatter);
        rule(AllToAll.class, this::allToAll);
        rule(Shift.class, this::shift);
        rule(GatherWeights.class, this::gatherWeights);
        rule(ScatterGradients.class, this::scatterGradients);
    }

    private <T extends Collective> void rule(Class<T> type, Rule<T> rule) {
        rules.put(type, rule);
    }

    /** Adds the ops that exchange data to what the back end runs. */
    void putIntoBackend() {
        backend.put(Collective.Replicate.class, (op, i, a) -> () -> {});
        for (Class<?> type : rules.keySet()) {
            backend.put(type.asSubclass(Collective.class), (op, i, a) -> {
                Begun begun = begin(op, i, a);
                return () -> {
                    begun.run();
                    begun.await();
                };
            });
        }
        backend.put(Start.class, (op, i, a) -> {
            Begun begun = begin(op.collective(), i, a);
            return () -> {
                begun.run();
                inFlight.put(a.output(0), begun.ended);
            };
        });
        backend.put(Collective.Wait.class, (op, i, a) -> () -> backend.streams().await(inFlight.remove(a.output(0))));
    }

    /** An exchange on a stream of its own, between two events. */
    private final class Begun {
        private final CUstream_st stream;
        private final CUevent_st ready = backend.streams().event();
        private final CUevent_st ended = backend.streams().event();
        private final Runnable exchange;

        Begun(CUstream_st stream, Runnable exchange) {
            this.stream = stream;
            this.exchange = exchange;
        }

        void run() {
            CudaStreams.order(backend.streams().compute(), ready, stream);
            exchange.run();
            CudaStreams.record(ended, stream);
        }

        void await() {
            backend.streams().await(ended);
        }
    }

    @SuppressWarnings("unchecked")
    private Begun begin(Collective op, Instruction i, Addresses a) {
        Rule<Collective> rule = (Rule<Collective>) rules.get(op.getClass());
        CUstream_st stream = backend.streams().exchange(op.group().toString());
        return new Begun(stream, rule.exchange(op, groups.of(op.group()), stream, i, a));
    }

    /** Begins a transfer along the pipeline; what is returned makes the compute stream wait for it. */
    Runnable start(RankPlan.Transfer transfer, long address) {
        Begun begun = transfers.computeIfAbsent(transfer, key -> lower(key, address));
        begun.run();
        return begun::await;
    }

    private Begun lower(RankPlan.Transfer transfer, long address) {
        int stage = plan.mesh().coordinate(plan.rank(), Axis.PP);
        boolean sends = transfer.direction() == Direction.SEND;
        Nccl link = sends ? groups.link(stage, transfer.peer()) : groups.link(transfer.peer(), stage);
        CUstream_st stream = backend.streams().exchange((sends ? "to stage " : "from stage ") + transfer.peer());
        Pointer at = DevicePointer.at(address);
        long bytes = transfer.slice().bytes();
        return new Begun(
                stream,
                () -> link.call(
                        transfer.toString(),
                        sends
                                ? ncclSend(at, bytes, ncclChar, 1, link.handle(), stream)
                                : ncclRecv(at, bytes, ncclChar, 0, link.handle(), stream)));
    }

    /** Bytes of packed shards. */
    static long workspaceBytes(Instruction i) {
        Collective op = (Collective) (i.op() instanceof Start s ? s.collective() : i.op());
        TensorType x = i.inputs().get(0).type();
        if (op instanceof AllGather gather) {
            return outer(x.shape(), gather.dim()) == 1 ? 0 : x.bytes() * gather.size();
        }
        if (op instanceof ReduceScatter scatter) {
            return outer(x.shape(), scatter.dim()) == 1 ? 0 : x.bytes();
        }
        return op instanceof AllToAll ? 2 * x.bytes() : 0;
    }

    private Runnable allReduce(AllReduce op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        int last = op.count() - 1;
        TensorType type = i.inputs().get(last).type();
        long count = (a.input(last) + type.bytes() - a.input(0)) / type.dtype().bytes();
        Pointer x = DevicePointer.at(a.input(0));
        int dtype = Nccl.type(type.dtype());
        return () ->
                members.call("ncclAllReduce", ncclAllReduce(x, x, count, dtype, ncclSum, members.handle(), stream));
    }

    private Runnable allGather(AllGather op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        long outer = outer(CudaBackend.shape(i, 0), op.dim());
        Pointer x = DevicePointer.at(a.input(0));
        Pointer gathered = DevicePointer.at(outer == 1 ? a.output(0) : a.workspace());
        Runnable unpack =
                outer == 1 ? () -> {} : transpose(stream, a.workspace(), a.output(0), op.size(), outer, bytes / outer);
        return () -> {
            members.call("ncclAllGather", ncclAllGather(x, gathered, bytes, ncclChar, members.handle(), stream));
            unpack.run();
        };
    }

    private Runnable reduceScatter(ReduceScatter op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        TensorType type = i.inputs().get(0).type();
        long shardBytes = type.bytes() / op.size();
        long outer = outer(type.shape(), op.dim());
        Pointer packed = DevicePointer.at(outer == 1 ? a.input(0) : a.workspace());
        Pointer y = DevicePointer.at(a.output(0));
        Runnable pack = outer == 1
                ? () -> {}
                : transpose(stream, a.input(0), a.workspace(), outer, op.size(), shardBytes / outer);
        long count = shardBytes / type.dtype().bytes();
        int dtype = Nccl.type(type.dtype());
        return () -> {
            pack.run();
            members.call(
                    "ncclReduceScatter", ncclReduceScatter(packed, y, count, dtype, ncclSum, members.handle(), stream));
        };
    }

    private Runnable allToAll(AllToAll op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        long partBytes = bytes / op.size();
        long outerTo = outer(CudaBackend.shape(i, 0), op.to());
        long outerFrom = outer(i.outputs().get(0).type().shape(), op.from());
        long received = a.workspace() + bytes;
        Runnable pack = transpose(stream, a.input(0), a.workspace(), outerTo, op.size(), partBytes / outerTo);
        Runnable unpack = transpose(stream, received, a.output(0), op.size(), outerFrom, partBytes / outerFrom);
        return () -> {
            pack.run();
            members.group(() -> {
                for (int peer = 0; peer < op.size(); peer++) {
                    send(members, a.workspace() + peer * partBytes, partBytes, peer, stream);
                    receive(members, received + peer * partBytes, partBytes, peer, stream);
                }
            });
            unpack.run();
        };
    }

    private Runnable shift(Shift op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        int next = (members.rank() + 1) % op.size();
        int previous = (members.rank() + op.size() - 1) % op.size();
        return () -> members.group(() -> {
            send(members, a.input(0), bytes, next, stream);
            receive(members, a.output(0), bytes, previous, stream);
        });
    }

    private static void send(Nccl members, long address, long bytes, int peer, CUstream_st stream) {
        members.queue("ncclSend", ncclSend(DevicePointer.at(address), bytes, ncclChar, peer, members.handle(), stream));
    }

    private static void receive(Nccl members, long address, long bytes, int peer, CUstream_st stream) {
        members.queue("ncclRecv", ncclRecv(DevicePointer.at(address), bytes, ncclChar, peer, members.handle(), stream));
    }

    private Runnable gatherWeights(GatherWeights op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        Pointer shard = DevicePointer.at(a.input(0));
        Pointer all = DevicePointer.at(a.output(0));
        return () ->
                members.call("ncclAllGather", ncclAllGather(shard, all, bytes, ncclChar, members.handle(), stream));
    }

    private Runnable scatterGradients(
            ScatterGradients op, Nccl members, CUstream_st stream, Instruction i, Addresses a) {
        List<Shape> shapes = op.weights().stream().map(TensorType::shape).toList();
        Flat flat = Flat.of(shapes, op.size());
        Pointer all = DevicePointer.at(a.input(0));
        long count = i.outputs().get(0).type().shape().numElements();
        long shardAt = a.input(0) + members.rank() * count * Float.BYTES;
        Pointer shard = DevicePointer.at(shardAt);
        return () -> {
            for (int x = 0; x < shapes.size(); x++) {
                long from = flat.offsets().get(x) + shapes.get(x).numElements();
                long to = x + 1 < shapes.size() ? flat.offsets().get(x + 1) : flat.numElements();
                if (from < to) {
                    check("cuMemsetD32Async", cuMemsetD32Async(a.input(0) + from * Float.BYTES, 0, to - from, stream));
                }
            }
            members.call(
                    "ncclReduceScatter",
                    ncclReduceScatter(all, shard, count, ncclFloat32, ncclSum, members.handle(), stream));
            if (shardAt != a.output(0)) {
                check("cuMemcpyDtoDAsync", cuMemcpyDtoDAsync(a.output(0), shardAt, count * Float.BYTES, stream));
            }
        };
    }

    /** What writes y [b, a, block] from x [a, b, block]. */
    private Runnable transpose(CUstream_st stream, long x, long y, long a, long b, long blockBytes) {
        int unit = 16;
        while ((x | y | blockBytes) % unit != 0) {
            unit = unit == 16 ? 4 : 2;
        }
        return backend.launch(FILE, "transpose_blocks_" + unit, stream)
                .over(a * b * blockBytes / unit)
                .pointers(x, y)
                .longs(a, b, blockBytes / unit)
                .build();
    }

    /** Product of the dims before one. */
    private static long outer(Shape shape, int dim) {
        return shape.dims().subList(0, dim).stream().reduce(1L, Math::multiplyExact);
    }
}
