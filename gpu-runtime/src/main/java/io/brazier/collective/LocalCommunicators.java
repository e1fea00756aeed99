package io.brazier.collective;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
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
        members.forEach(member -> member.start(members, release));
        return members.stream()
                .map(member -> (Communicator) new LinkCommunicator(member.progress, member.worker, 0))
                .toList();
    }

    private static final class Member implements Control {
        private final int rank;
        private final Link[] links;
        private final Waiter waiter;
        private final Progress progress;
        private Worker worker;
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

        void start(List<Member> all, Runnable release) {
            members = all;
            worker = new Worker(progress, waiter, this, release);
        }

        @Override
        public void abort(String reason) {
            for (Member member : members) {
                if (member != this) {
                    member.worker.fail(new CommunicatorAbortedException(reason));
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
