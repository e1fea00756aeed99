package io.brazier.cuda;

import io.brazier.collective.Communicator;
import io.brazier.plan.RankPlan;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * NCCL's communicators of a rank: all ranks by one unique id, split into one for each group that the plan names and one for each
 * direction of each link of the pipeline, so that no exchange waits for one of another.
 *
 * <p>A thread watches for errors, of NCCL and of the communicator that carried the id, by which the loss of a peer is told. It then
 * aborts all: kernels that wait for peers end, and whoever waits for a stream gets an error. NCCL itself can hang while aborting; the
 * process is then halted, for nothing else ends it.
 */
final class NcclGroups implements AutoCloseable {
    private static final Logger LOG = LoggerFactory.getLogger(NcclGroups.class);
    private static final Duration CONNECT = Duration.ofSeconds(120);
    private static final Duration ABORT = Duration.ofSeconds(20);
    private static final long WATCH_MILLIS = 100;

    /** Exit status of a process whose communicators could not be aborted: EX_PROTOCOL of sysexits. */
    private static final int HALTED = 76;

    private final Communicator world;
    private final CudaDevice device;
    private final Map<Object, Nccl> members = new HashMap<>();
    private final List<Nccl> all = new ArrayList<>();
    private final Thread watch = new Thread(this::watch, "brazier-nccl-watch");
    private volatile boolean closing;
    private volatile String failure;

    /** One direction of a link between stages. */
    private record Link(int fromStage, int toStage) {}

    /** @param world carries the id and tells of lost peers; not closed here */
    NcclGroups(Communicator world, CudaDevice device) {
        this.world = world;
        this.device = device;
        watch.setDaemon(true);
    }

    /** Connects the groups and links of a plan. Collective: they are made in one order on all ranks. */
    void connect(RankPlan plan) {
        device.bind();
        byte[] id = world.allGatherBytes(world.rank() == 0 ? Nccl.uniqueId() : new byte[0])[0];
        Nccl ranks = keep(Nccl.connect(id, world.rank(), world.size(), CONNECT));
        groups(plan).forEach((name, group) -> members.put(group, keep(split(ranks, plan.mesh(), plan.rank(), group))));
        int stages = plan.mesh().size(Axis.PP);
        for (int stage = 0; stages > 1 && stage < stages; stage++) {
            int next = (stage + 1) % stages;
            link(ranks, plan, new Link(stage, next));
            if (stages > 2 || stage == 1) {
                link(ranks, plan, new Link(next, stage));
            }
        }
        watch.start();
    }

    private Nccl keep(Nccl communicator) {
        all.add(communicator);
        return communicator;
    }

    private static Map<String, Group> groups(RankPlan plan) {
        Map<String, Group> groups = new TreeMap<>();
        plan.segments().values().stream()
                .flatMap(segment -> segment.program().instructions().stream())
                .map(Instruction::op)
                .filter(op -> op instanceof Collective && !(op instanceof Collective.Replicate))
                .map(op -> ((Collective) op).group())
                .forEach(group -> groups.put(group.toString(), group));
        return groups;
    }
}
