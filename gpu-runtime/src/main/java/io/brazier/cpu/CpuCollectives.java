package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.collective.ElementType;
import io.brazier.collective.Work;
import io.brazier.exec.Backend.Addresses;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ReduceScatter;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Collective.Start;
import io.brazier.program.Instruction;
import io.brazier.tensor.DType;
import io.brazier.tensor.Flat;
import io.brazier.tensor.Group;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Function;

/**
 * Lowers the ops that exchange data to the calls of communicators. Communicators move contiguous shards, so a shard of an inner dim
 * is packed or unpacked in the workspace.
 */
final class CpuCollectives {
    private final Function<Group, Communicator> communicators;
    private final Map<Long, Runnable> inFlight = new HashMap<>();

    /** Begins an exchange and returns what ends it. */
    private interface Exchange {
        Runnable begin();
    }

    private interface Rule<T extends Collective> {
        Exchange exchange(T op, Communicator communicator, Instruction i, Addresses a);
    }

    private final Map<Class<?>, Rule<?>> rules = new HashMap<>();

    CpuCollectives(Function<Group, Communicator> communicators) {
        this.communicators = communicators;
        rule(AllReduce.class, this::allReduce);
        rule(AllGather.class, this::allGather);
        rule(ReduceScatter.class, this::reduceScatter);
        rule(AllToAll.class, this::allToAll);
        rule(Collective.Shift.class, this::shift);
        rule(GatherWeights.class, this::gatherWeights);
        rule(ScatterGradients.class, this::scatterGradients);
    }

    private <T extends Collective> void rule(Class<T> type, Rule<T> rule) {
        rules.put(type, rule);
    }

    /** Adds the ops that exchange data to what a back end runs. */
    void putInto(CpuBackend backend) {
        backend.put(Collective.Replicate.class, (op, i, a) -> () -> {});
        for (Class<?> type : rules.keySet()) {
            backend.put(type.asSubclass(Collective.class), (op, i, a) -> {
                Exchange exchange = exchange(op, i, a);
                return () -> exchange.begin().run();
            });
        }
        backend.put(Start.class, (op, i, a) -> {
            Exchange exchange = exchange(op.collective(), i, a);
            return () -> inFlight.put(a.output(0), exchange.begin());
        });
        backend.put(
                Collective.Wait.class,
                (op, i, a) -> () -> inFlight.remove(a.output(0)).run());
    }

    @SuppressWarnings("unchecked")
    private Exchange exchange(Collective op, Instruction i, Addresses a) {
        Rule<Collective> rule = (Rule<Collective>) rules.get(op.getClass());
        return rule.exchange(op, communicators.apply(op.group()), i, a);
    }

    /** Bytes of packed shards. */
    static long workspaceBytes(Instruction i) {
        Collective op = (Collective) (i.op() instanceof Start s ? s.collective() : i.op());
        TensorType x = i.inputs().get(0).type();
        if (op instanceof AllGather gather) {
            return outer(x.shape(), gather.dim()) == 1 ? 0 : x.bytes() * gather.size();
        }
        if (op instanceof ReduceScatter) {
            return x.bytes();
        }
        return op instanceof AllToAll ? 2 * x.bytes() : 0;
    }

    private Exchange allReduce(AllReduce op, Communicator communicator, Instruction i, Addresses a) {
        int last = op.count() - 1;
        long end = a.input(last) + i.inputs().get(last).type().bytes();
        ElementType type = elementType(i);
        long count = (end - a.input(0)) / type.bytes();
        return () -> communicator.allReduce(a.input(0), count, type)::await;
    }

    private static ElementType elementType(Instruction i) {
        DType type = i.inputs().get(0).type().dtype();
        return switch (type) {
            case F32 -> ElementType.F32;
            case F64 -> ElementType.F64;
            case BF16 -> ElementType.BF16;
            case I32, I64 -> throw new IllegalArgumentException(i + ": sums over ranks are of floats, not of " + type);
        };
    }

    private Exchange allGather(AllGather op, Communicator communicator, Instruction i, Addresses a) {
        Shape shard = CpuBackend.shape(i, 0);
        long bytes = i.inputs().get(0).type().bytes();
        long outer = outer(shard, op.dim());
        long gathered = outer == 1 ? a.output(0) : a.workspace();
        return () -> {
            CpuNative.copy(gathered + communicator.rank() * bytes, a.input(0), bytes);
            Work work = communicator.allGather(gathered, op.size() * bytes);
            return () -> {
                work.await();
                if (outer > 1) {
                    CpuNative.transposeBlocks(gathered, a.output(0), op.size(), outer, bytes / outer);
                }
            };
        };
    }

    private Exchange reduceScatter(ReduceScatter op, Communicator communicator, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        long shardBytes = bytes / op.size();
        long outer = outer(CpuBackend.shape(i, 0), op.dim());
        ElementType type = elementType(i);
        return () -> {
            CpuNative.transposeBlocks(a.input(0), a.workspace(), outer, op.size(), shardBytes / outer);
            Work work = communicator.reduceScatter(a.workspace(), bytes / type.bytes(), type);
            return () -> {
                work.await();
                CpuNative.copy(a.output(0), a.workspace() + communicator.rank() * shardBytes, shardBytes);
            };
        };
    }

    private Exchange allToAll(AllToAll op, Communicator communicator, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        long partBytes = bytes / op.size();
        long outerTo = outer(CpuBackend.shape(i, 0), op.to());
        long outerFrom = outer(i.outputs().get(0).type().shape(), op.from());
        long[] parts = new long[op.size()];
        Arrays.fill(parts, partBytes);
        long received = a.workspace() + bytes;
        return () -> {
            CpuNative.transposeBlocks(a.input(0), a.workspace(), outerTo, op.size(), partBytes / outerTo);
            Work work = communicator.allToAll(a.workspace(), parts, received, parts);
            return () -> {
                work.await();
                CpuNative.transposeBlocks(received, a.output(0), op.size(), outerFrom, partBytes / outerFrom);
            };
        };
    }

    private Exchange shift(Collective.Shift op, Communicator communicator, Instruction i, Addresses a) {
        long bytes = i.inputs().get(0).type().bytes();
        if (op.size() == 1) {
            return () -> {
                CpuNative.copy(a.output(0), a.input(0), bytes);
                return () -> {};
            };
        }
        int next = (communicator.rank() + 1) % op.size();
        int previous = (communicator.rank() + op.size() - 1) % op.size();
        return () -> {
            Work sent = communicator.send(a.input(0), bytes, next);
            Work received = communicator.receive(a.output(0), bytes, previous);
            return () -> {
                received.await();
                sent.await();
            };
        };
    }

    private Exchange gatherWeights(GatherWeights op, Communicator communicator, Instruction i, Addresses a) {
        long shardBytes = i.inputs().get(0).type().bytes();
        return () -> {
            long mine = a.output(0) + communicator.rank() * shardBytes;
            if (mine != a.input(0)) {
                CpuNative.copy(mine, a.input(0), shardBytes);
            }
            return communicator.allGather(a.output(0), op.size() * shardBytes)::await;
        };
    }

    private Exchange scatterGradients(ScatterGradients op, Communicator communicator, Instruction i, Addresses a) {
        List<Shape> shapes = op.weights().stream().map(TensorType::shape).toList();
        Flat flat = Flat.of(shapes, op.size());
        long shardBytes = i.outputs().get(0).type().bytes();
        return () -> {
            for (int x = 0; x < shapes.size(); x++) {
                long from = flat.offsets().get(x) + shapes.get(x).numElements();
                long to = x + 1 < shapes.size() ? flat.offsets().get(x + 1) : flat.numElements();
                CpuNative.fill(a.input(0) + from * Float.BYTES, to - from, 0);
            }
            Work work = communicator.reduceScatter(a.input(0), flat.numElements(), ElementType.F32);
            return () -> {
                work.await();
                long mine = a.input(0) + communicator.rank() * shardBytes;
                if (mine != a.output(0)) {
                    CpuNative.copy(a.output(0), mine, shardBytes);
                }
            };
        };
    }

    /** Product of the dims before one. */
    private static long outer(Shape shape, int dim) {
        return shape.dims().subList(0, dim).stream().reduce(1L, Math::multiplyExact);
    }
}
