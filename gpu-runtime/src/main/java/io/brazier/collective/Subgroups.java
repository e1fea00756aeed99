package io.brazier.collective;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Grouping.Formation;
import io.brazier.collective.Membership.Invitation;
import java.lang.ref.Reference;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ConcurrentHashMap;

/** The groups made from a communicator: members invite each other over it, then meet on links of the group's own. */
final class Subgroups {

    private final LinkCommunicator parent;
    private final Lineage lineage;
    private final Duration deadline;
    private final Map<String, LinkCommunicator> groups = new ConcurrentHashMap<>();
    private boolean closed;

    Subgroups(LinkCommunicator parent, Lineage lineage, Duration deadline) {
        this.parent = parent;
        this.lineage = lineage;
        this.deadline = deadline;
    }

    synchronized LinkCommunicator form(Membership group) {
        if (closed) {
            throw new IllegalStateException(group + " on rank " + parent.rank() + " comes after close");
        }
        if (groups.containsKey(group.name())) {
            throw new IllegalArgumentException(group + " on rank " + parent.rank() + ": there is already a "
                    + "group of this name; give each of a rank's groups its own");
        }
        LinkCommunicator formed =
                group.ranks().size() == 1 ? LocalCommunicators.alone(group, lineage.family(), deadline) : meet(group);
        groups.put(group.name(), formed);
        return formed;
    }

    private LinkCommunicator meet(Membership group) {
        Family family = lineage.family();
        try (Formation formation = lineage.grouping().begin(group)) {
            family.begin(formation);
            try {
                List<String> endpoints = invite(group, formation.endpoint());
                return formation.connect(group.indexOf(parent.rank()), endpoints);
            } finally {
                family.formed(formation);
            }
        } catch (RuntimeException e) {
            CollectiveException cause = e instanceof CollectiveException known
                    ? known
                    : new CollectiveException(
                            Category.ABORTED, "rank " + parent.rank() + " failed: " + e.getMessage(), e);
            // The first failure says why; what this rank saw may be its consequence.
            CollectiveException first = parent.fail(cause.in(group.toString()));
            throw first.what().contains(group.toString()) ? first.again() : first.in("making " + group);
        }
    }

    /** Tells each member of this one and hears of each; returns their endpoints by rank of the group. */
    private List<String> invite(Membership group, String endpoint) {
        ByteBuffer own = message();
        new Invitation(group, endpoint).write(own);
        List<ByteBuffer> messages = new ArrayList<>();
        List<Work> works = new ArrayList<>();
        for (int peer : group.ranks()) {
            ByteBuffer message = peer == parent.rank() ? own : message();
            messages.add(message);
            if (peer != parent.rank()) {
                works.add(parent.send(Kind.GROUP, SharedMemory.address(own), own.capacity(), peer));
                works.add(parent.receive(Kind.GROUP, SharedMemory.address(message), own.capacity(), peer));
            }
        }
        try {
            works.forEach(Work::await);
        } finally {
            Reference.reachabilityFence(messages);
        }
        List<String> endpoints = new ArrayList<>();
        for (int r = 0; r < messages.size(); r++) {
            Invitation theirs = Invitation.read(messages.get(r).rewind());
            if (!theirs.group().equals(group)) {
                throw new CollectiveException(
                        Category.MISMATCH,
                        "rank " + parent.rank() + " makes " + group + ", but rank "
                                + group.ranks().get(r) + " makes " + theirs.group()
                                + ": all members must make the same groups in the same order");
            }
            endpoints.add(theirs.endpoint());
        }
        return endpoints;
    }

    private static ByteBuffer message() {
        return ByteBuffer.allocateDirect(Membership.INVITATION_BYTES).order(ByteOrder.LITTLE_ENDIAN);
    }

    long bytesSent() {
        return groups.values().stream().mapToLong(Communicator::bytesSent).sum();
    }

    synchronized void close() {
        closed = true;
        groups.values().forEach(Communicator::close);
    }
}
