package io.brazier.collective;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.atomic.AtomicInteger;

/** A group whose ranks are threads of this process. The native library must have been loaded. */
public final class LocalCommunicators {

    private static final Duration DEADLINE = Duration.ofSeconds(60);

    private LocalCommunicators() {}

    /** One communicator for each rank, with a deadline of a minute. */
    public static List<Communicator> create(int size) {
        return create(size, DEADLINE);
    }

    /**
     * One communicator for each rank.
     *
     * @param deadline longest time that a rank waits for a peer that does not move
     */
    public static List<Communicator> create(int size, Duration deadline) {
        if (size < 1) {
            throw new IllegalArgumentException("a group of " + size + " ranks: give at least 1");
        }
        Family[] families = new Family[size];
        Arrays.setAll(families, r -> new Family());
        return List.copyOf(wire(null, families, deadline));
    }

    /** A group of one rank. */
    static LinkCommunicator alone(Membership group, Family family, Duration deadline) {
        return wire(group, new Family[] {family}, deadline).get(0);
    }

    private static List<LinkCommunicator> wire(Membership group, Family[] families, Duration deadline) {
        int size = families.length;
        Inbox[] inboxes = new Inbox[size];
        for (int r = 0; r < size; r++) {
            inboxes[r] = Inbox.anonymous(size);
        }
        AtomicInteger open = new AtomicInteger(size);
        Runnable release = () -> {
            if (open.decrementAndGet() == 0) {
                for (Inbox inbox : inboxes) {
                    inbox.unmap();
                }
            }
        };
        List<Member> members = new ArrayList<>();
        for (int r = 0; r < size; r++) {
            members.add(new Member(r, inboxes, deadline));
        }
        Threads threads = new Threads(families, deadline);
        for (Member member : members) {
            member.start(members, new Lineage(0, group, families[member.rank], threads), release);
        }
        return members.stream()
                .map(member -> new LinkCommunicator(member.progress, member.worker, member.lineage))
                .toList();
    }

    /** Groups of this process's ranks: who comes first wires all members, the others fetch theirs. */
    private static final class Threads implements Grouping {
        private final Family[] families;
        private final Duration deadline;
        private final Map<Membership, List<LinkCommunicator>> wired = new HashMap<>();

        Threads(Family[] families, Duration deadline) {
            this.families = families;
            this.deadline = deadline;
        }

        private synchronized LinkCommunicator fetch(Membership group, int rank) {
            return wired.computeIfAbsent(
                            group,
                            key -> wire(
                                    key,
                                    key.ranks().stream().map(r -> families[r]).toArray(Family[]::new),
                                    deadline))
                    .get(rank);
        }

        @Override
        public Formation begin(Membership group) {
            return new Formation() {
                @Override
                public String endpoint() {
                    return "";
                }

                @Override
                public LinkCommunicator connect(int rank, List<String> endpoints) {
                    return fetch(group, rank);
                }

                @Override
                public void close() {}
            };
        }
    }

    private static final class Member implements Control {
        private final int rank;
        private final Link[] links;
        private final Waiter waiter;
        private final Progress progress;
        private Worker worker;
        private Lineage lineage;
        private List<Member> members;

        Member(int rank, Inbox[] inboxes, Duration deadline) {
            this.rank = rank;
            this.links = new Link[inboxes.length];
            for (int peer = 0; peer < links.length; peer++) {
                if (peer != rank) {
                    links[peer] = new SharedMemoryLink(
                            peer,
                            inboxes[peer].ring(rank),
                            inboxes[rank].ring(peer),
                            inboxes[peer].doorbell(),
                            () -> {});
                }
            }
            this.waiter = new Waiter(inboxes[rank].doorbell(), null, true);
            this.progress = new Progress(rank, links, waiter, deadline);
        }

        void start(List<Member> all, Lineage from, Runnable release) {
            members = all;
            lineage = from;
            worker = new Worker(progress, waiter, this, lineage, release);
        }

        @Override
        public void abort(String reason) {
            for (Member member : members) {
                if (member != this) {
                    member.worker.end(new CommunicatorAbortedException(reason));
                }
            }
        }

        @Override
        public void close() {
            for (Member member : members) {
                if (member != this) {
                    member.links[rank].peerClosed();
                    member.waiter.wake();
                }
            }
        }
    }
}
