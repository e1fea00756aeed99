package io.brazier.collective;

import io.brazier.collective.ControlConnection.Type;
import io.brazier.collective.Handshake.Claim;
import io.brazier.collective.Handshake.Purpose;
import java.io.IOException;
import java.nio.channels.Selector;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.stream.IntStream;

/**
 * How one rank joins its group: it dials the lower ranks and waits for the higher ones, maps the memory of those on its host, and
 * removes its own file once all have mapped it.
 */
final class Joining {

    private final int rank;
    private final List<Endpoint> endpoints;
    private final Duration deadline;
    private final long end;
    private final Rendezvous meeting;
    private final Watch watch;
    private final int[] sharedPeers;
    private final Inbox[] inboxes;

    Joining(int rank, List<Endpoint> endpoints, Duration deadline, Rendezvous meeting, Watch watch) {
        this.rank = rank;
        this.endpoints = endpoints;
        this.deadline = deadline;
        this.end = System.nanoTime() + deadline.toNanos();
        this.meeting = meeting;
        this.watch = watch;
        this.sharedPeers = IntStream.range(0, endpoints.size())
                .filter(peer -> peer != rank && meeting.shares(peer))
                .toArray();
        this.inboxes = new Inbox[endpoints.size()];
    }

    LinkCommunicator join(Secret secret, Lineage lineage) throws IOException, InterruptedException {
        Path file = Path.of(endpoints.get(rank).sharedFile());
        Selector selector = null;
        Link[] links = new Link[endpoints.size()];
        try {
            inboxes[rank] = sharedPeers.length == 0 ? Inbox.anonymous(0) : Inbox.create(file, sharedPeers.length);
            connect(secret, lineage.generation());
            shareMemory();
            boolean sockets = sharedPeers.length < endpoints.size() - 1;
            selector = sockets ? Selector.open() : null;
            makeLinks(links, selector);
            return start(links, selector, lineage);
        } catch (IOException | InterruptedException | RuntimeException e) {
            for (int peer = 0; peer < links.length; peer++) {
                if (links[peer] != null) {
                    links[peer].close();
                } else if (inboxes[peer] != null) {
                    inboxes[peer].unmap();
                }
            }
            if (selector != null) {
                selector.close();
            }
            throw e;
        } finally {
            Files.deleteIfExists(file);
        }
    }

    private void connect(Secret secret, long generation) throws InterruptedException, IOException {
        Dialler dialler = new Dialler(secret, deadline, end, meeting::checkFailure);
        for (int peer = 0; peer < rank; peer++) {
            for (Purpose purpose : Purpose.values()) {
                if (purpose == Purpose.CONTROL || !meeting.shares(peer)) {
                    Dialler.Connection connection =
                            dialler.dial(endpoints.get(peer), new Claim(generation, rank, peer, purpose));
                    meeting.keep(peer, connection.channel(), connection.session());
                }
            }
        }
        meeting.awaitConnections(end, deadline);
        watch.stopListening();
    }

    private void shareMemory() throws InterruptedException {
        for (int peer : sharedPeers) {
            meeting.send(peer, Type.READY, "");
        }
        for (int peer : sharedPeers) {
            meeting.awaitReady(peer, end, deadline);
            inboxes[peer] = Inbox.open(Path.of(endpoints.get(peer).sharedFile()), sharedPeers.length);
            meeting.send(peer, Type.MAPPED, "");
        }
        meeting.awaitMapped(end, deadline);
    }

    /** Rings are numbered by the order of ranks on the host, which all its ranks know. */
    private int ring(int owner, int sender) {
        return (int) IntStream.range(0, sender)
                .filter(peer -> peer != owner && (peer == rank || meeting.shares(peer)))
                .count();
    }

    private void makeLinks(Link[] links, Selector selector) throws IOException {
        for (int peer = 0; peer < links.length; peer++) {
            if (peer == rank) {
                continue;
            }
            if (meeting.shares(peer)) {
                Inbox theirs = inboxes[peer];
                links[peer] = new SharedMemoryLink(
                        peer,
                        theirs.ring(ring(peer, rank)),
                        inboxes[rank].ring(ring(rank, peer)),
                        theirs.doorbell(),
                        theirs::unmap);
            } else {
                links[peer] = new TcpLink(peer, meeting.dataChannel(peer), meeting.dataSession(peer), selector);
            }
        }
    }

    private LinkCommunicator start(Link[] links, Selector selector, Lineage lineage) {
        Waiter waiter = new Waiter(inboxes[rank].doorbell(), selector, sharedPeers.length > 0);
        Progress progress = new Progress(rank, links, waiter, deadline);
        Worker worker = new Worker(progress, waiter, meeting, lineage, inboxes[rank]::unmap);
        meeting.tell(new Rendezvous.Links() {
            @Override
            public void fail(CollectiveException cause) {
                if (cause.category() == CollectiveException.Category.ABORTED) {
                    worker.end(cause);
                } else {
                    worker.fail(cause);
                }
            }

            @Override
            public void left(int peer) {
                links[peer].peerClosed();
                waiter.wake();
            }
        });
        return new LinkCommunicator(progress, worker, lineage);
    }
}
