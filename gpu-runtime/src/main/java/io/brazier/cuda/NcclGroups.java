package io.brazier.cuda;

import io.brazier.collective.Communicator;
import io.brazier.plan.RankPlan;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
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
    private final Map<Group, Nccl> groups = new HashMap<>();
    private final Map<Link, Nccl> links = new HashMap<>();
    private final List<Nccl> all = new ArrayList<>();
    private final Thread watch = new Thread(this::watch, "brazier-nccl-watch");
    private boolean connected;
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
        plan.groups().forEach(group -> {
            Nccl split = split(ranks, plan.mesh(), plan.rank(), group);
            if (split != null) {
                groups.put(group, keep(split));
            }
        });
        int stages = plan.mesh().size(Axis.PP);
        Set<Link> neighbours = new LinkedHashSet<>();
        for (int stage = 0; stages > 1 && stage < stages; stage++) {
            neighbours.add(new Link(stage, (stage + 1) % stages));
            neighbours.add(new Link((stage + 1) % stages, stage));
        }
        neighbours.forEach(link -> connect(ranks, plan, link));
        connected = true;
        watch.start();
    }

    private Nccl keep(Nccl communicator) {
        all.add(communicator);
        return communicator;
    }

    private static Nccl split(Nccl ranks, Mesh mesh, int rank, Group group) {
        boolean member =
                !group.pipelineEnds() || mesh.coordinate(rank, Axis.PP) % Math.max(1, mesh.size(Axis.PP) - 1) == 0;
        return ranks.split(
                group.toString(),
                member ? mesh.members(rank, group).get(0) : -1,
                rank,
                mesh.coordinate(rank, group),
                mesh.size(group));
    }

    private void connect(Nccl ranks, RankPlan plan, Link link) {
        Mesh mesh = plan.mesh();
        int stage = mesh.coordinate(plan.rank(), Axis.PP);
        boolean member = stage == link.fromStage() || stage == link.toStage();
        Nccl split = ranks.split(
                "stage " + link.fromStage() + " to stage " + link.toStage(),
                member ? mesh.members(plan.rank(), Group.of(Axis.PP)).get(0) : -1,
                stage == link.fromStage() ? 0 : 1,
                stage == link.fromStage() ? 0 : 1,
                2);
        if (member) {
            links.put(link, keep(split));
        }
    }

    /** The communicator of a group that the plan names. */
    Nccl of(Group group) {
        return groups.get(group);
    }

    /** The communicator of one direction of a link; the sender is rank 0 of it. */
    Nccl link(int fromStage, int toStage) {
        return links.get(new Link(fromStage, toStage));
    }

    /**
     * What the device computed may be trusted: an exchange that failed lets the stream go on with whatever was there.
     *
     * @throws CudaException when a peer was lost or an exchange failed
     */
    void check() {
        String cause = failure;
        if (cause != null) {
            throw new CudaException("an exchange between ranks", 0, cause);
        }
        all.forEach(Nccl::poll);
    }

    private void watch() {
        try {
            device.bind();
            while (!closing) {
                world.failure().ifPresent(lost -> {
                    throw lost;
                });
                all.forEach(Nccl::poll);
                TimeUnit.MILLISECONDS.sleep(WATCH_MILLIS);
            }
        } catch (RuntimeException e) {
            if (!closing) {
                abort(e.getMessage());
            }
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
    }

    /** Ends what is in flight, here and on the peers. */
    synchronized void abort(String cause) {
        if (failure != null) {
            return;
        }
        failure = cause;
        LOG.error("Ending all exchanges of rank {}: {}", world.rank(), cause);
        Thread abort = new Thread(() -> all.forEach(Nccl::abort), "brazier-nccl-abort");
        abort.setDaemon(true);
        abort.start();
        try {
            abort.join(ABORT.toMillis());
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (abort.isAlive()) {
            LOG.error("NCCL does not end within {}; halting this process, rank {}", ABORT, world.rank());
            Runtime.getRuntime().halt(HALTED);
        }
        world.abort(cause);
    }

    @Override
    public void close() {
        closing = true;
        try {
            watch.join();
        } catch (InterruptedException e) {
            Thread.currentThread().interrupt();
        }
        if (!connected) {
            all.forEach(Nccl::abort);
        } else if (failure == null) {
            for (int x = all.size() - 1; x >= 0; x--) {
                all.get(x).close();
            }
        }
    }
}
