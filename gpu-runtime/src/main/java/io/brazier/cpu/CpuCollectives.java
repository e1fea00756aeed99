package io.brazier.cpu;

import io.brazier.collective.Communicator;
import io.brazier.collective.Work;
import io.brazier.program.Collective;
import java.util.HashMap;
import java.util.Map;

/** Lowers the ops that exchange data to the calls of a communicator; a group of one exchanges nothing. */
final class CpuCollectives {
    private final Communicator communicator;
    private final Map<Long, Work> inFlight = new HashMap<>();

    CpuCollectives(Communicator communicator) {
        this.communicator = communicator;
    }

    /** Adds the ops that exchange data to what a back end runs. */
    void putInto(CpuBackend backend) {
        backend.put(Collective.Replicate.class, (op, i, a) -> () -> {});
        backend.put(Collective.AllReduce.class, (op, i, a) -> {
            long count = CpuBackend.shape(i, 0).numElements();
            return () -> {
                if (communicator.size() > 1) {
                    communicator.allReduce(a.input(0), count).await();
                }
            };
        });
        backend.put(Collective.AllReduceStart.class, (op, i, a) -> {
            int last = op.count() - 1;
            long end = a.input(last) + i.inputs().get(last).type().bytes();
            long count = (end - a.input(0)) / Float.BYTES;
            return () -> {
                if (communicator.size() > 1) {
                    inFlight.put(a.input(0), communicator.allReduce(a.input(0), count));
                }
            };
        });
        backend.put(Collective.AllReduceWait.class, (op, i, a) -> () -> {
            if (communicator.size() > 1) {
                inFlight.remove(a.input(0)).await();
            }
        });
        backend.put(Collective.AllGather.class, (op, i, a) -> {
            long shardBytes = i.inputs().get(0).type().bytes();
            long count = i.outputs().get(0).type().shape().numElements();
            return () -> {
                CpuNative.copy(a.output(0) + communicator.rank() * shardBytes, a.input(0), shardBytes);
                communicator.allGather(a.output(0), count).await();
            };
        });
        backend.put(Collective.ReduceScatter.class, (op, i, a) -> {
            long shardBytes = i.outputs().get(0).type().bytes();
            long count = CpuBackend.shape(i, 0).numElements();
            return () -> {
                CpuNative.copy(a.workspace(), a.input(0), count * Float.BYTES);
                communicator.reduceScatter(a.workspace(), count).await();
                CpuNative.copy(a.output(0), a.workspace() + communicator.rank() * shardBytes, shardBytes);
            };
        });
    }
}
