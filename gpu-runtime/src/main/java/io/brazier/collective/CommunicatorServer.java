package io.brazier.collective;

import io.brazier.collective.CollectiveException.Category;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.nio.channels.ServerSocketChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;

/**
 * A process's place in a group that forms: opens a port, says where it is ({@link #endpoint}), and connects once it knows its rank
 * and everybody's endpoint. The native library must have been loaded. Serves one {@link #connect}.
 */
public final class CommunicatorServer implements AutoCloseable {

    private static final int BACKLOG = 1024;

    private final long generation;
    private final Secret secret;
    private final Path localDirectory;
    private final InetAddress bindAddress;
    private final Transport transport;
    private final ServerSocketChannel listener;
    private final Endpoint endpoint;
    private Rendezvous rendezvous;

    private CommunicatorServer(
            long generation,
            Secret secret,
            Path localDirectory,
            InetAddress bindAddress,
            Transport transport,
            ServerSocketChannel listener,
            Endpoint endpoint) {
        this.generation = generation;
        this.secret = secret;
        this.localDirectory = localDirectory;
        this.bindAddress = bindAddress;
        this.transport = transport;
        this.listener = listener;
        this.endpoint = endpoint;
    }

    /**
     * Opens a port of the system's choice.
     *
     * @param generation attempt of the job; other generations are refused
     * @param secret 32 bytes that only this job's processes know
     * @param localDirectory for shared memory where the host has no /dev/shm
     * @param bindAddress the process's own address, never a wildcard
     * @throws CollectiveException when the address is not this machine's
     */
    public static CommunicatorServer open(
            long generation, byte[] secret, Path localDirectory, InetAddress bindAddress, Transport transport) {
        if (bindAddress.isAnyLocalAddress()) {
            throw new IllegalArgumentException("the collectives would listen on every address (" + bindAddress
                    + "): give this process's own address");
        }
        return open(generation, new Secret(secret), localDirectory, bindAddress, transport);
    }

    private static CommunicatorServer open(
            long generation, Secret secret, Path localDirectory, InetAddress bindAddress, Transport transport) {
        ServerSocketChannel listener = null;
        try {
            listener = ServerSocketChannel.open();
            listener.bind(new InetSocketAddress(bindAddress, 0), BACKLOG);
            int port = ((InetSocketAddress) listener.getLocalAddress()).getPort();
            SharedDirectory directory = SharedDirectory.find(localDirectory);
            Endpoint endpoint = new Endpoint(
                    transport == Transport.TCP ? "" : directory.identity(),
                    directory.newFile().toString(),
                    bindAddress.getHostAddress(),
                    port);
            return new CommunicatorServer(
                    generation, secret, localDirectory, bindAddress, transport, listener, endpoint);
        } catch (IOException e) {
            closeQuietly(listener);
            throw new CollectiveException(
                    Category.SETUP,
                    "cannot listen on " + bindAddress.getHostAddress() + ": " + e.getMessage()
                            + "; is it this machine's address?",
                    e);
        }
    }

    private static void closeQuietly(ServerSocketChannel listener) {
        try {
            if (listener != null) {
                listener.close();
            }
        } catch (IOException e) {
            // The port is gone either way.
        }
    }

    /** Where the other ranks find this one. */
    public Endpoint endpoint() {
        return endpoint;
    }

    /**
     * Forms the group; every rank calls it with the same list.
     *
     * @param rank index of this process in the list
     * @param deadline longest wait, here for peers that do not connect and later for a peer that does not move
     */
    public Communicator connect(int rank, List<Endpoint> endpoints, Duration deadline) {
        if (rank < 0 || rank >= endpoints.size() || !endpoints.get(rank).equals(endpoint)) {
            throw new IllegalArgumentException("rank " + rank + " of " + endpoints.size()
                    + " endpoints is not this process: give its index in the list, and connect once");
        }
        Family family = new Family();
        return connect(rank, endpoints, deadline, new Lineage(generation, null, family, groups(family, deadline)));
    }

    private LinkCommunicator connect(int rank, List<Endpoint> endpoints, Duration deadline, Lineage lineage) {
        int size = endpoints.size();
        boolean[] shared = new boolean[size];
        for (int peer = 0; peer < size; peer++) {
            shared[peer] = peer == rank || endpoint.sharesMemoryWith(endpoints.get(peer));
            if (!shared[peer] && transport == Transport.SHARED_MEMORY) {
                throw new IllegalArgumentException("rank " + peer + " at "
                        + endpoints.get(peer).address() + " shares no memory with rank " + rank + " at "
                        + endpoint.address() + ": use transport AUTO");
            }
        }
        Rendezvous meeting = new Rendezvous(rank, shared);
        try {
            synchronized (this) {
                if (rendezvous != null || !listener.isOpen()) {
                    throw new IllegalStateException("a server connects once, and not after close");
                }
                rendezvous = meeting;
            }
            Watch watch = new Watch(listener, secret, generation, rank, meeting);
            meeting.watch(watch);
            watch.start();
            return new Joining(rank, endpoints, deadline, meeting, watch).join(secret, lineage);
        } catch (IOException e) {
            meeting.cancel("rank " + rank + " failed: " + e.getMessage());
            closeQuietly(listener);
            throw new CollectiveException(Category.SETUP, "rank " + rank + " cannot connect: " + e.getMessage(), e);
        } catch (InterruptedException e) {
            meeting.cancel("rank " + rank + " was interrupted while it connected");
            Thread.currentThread().interrupt();
            throw new CommunicatorAbortedException("rank " + rank + " was interrupted while it connected");
        } catch (RuntimeException e) {
            meeting.cancel(e.getMessage());
            throw e;
        }
    }

    /** Groups meet as their communicator did, each behind a port and with a secret of its own. */
    private Grouping groups(Family family, Duration deadline) {
        return group -> {
            CommunicatorServer server = open(
                    generation,
                    secret.derive("group", group.toString().getBytes(StandardCharsets.UTF_8)),
                    localDirectory,
                    bindAddress,
                    transport);
            return new Grouping.Formation() {
                @Override
                public String endpoint() {
                    return server.endpoint.encode();
                }

                @Override
                public LinkCommunicator connect(int rank, List<String> endpoints) {
                    List<Endpoint> places =
                            endpoints.stream().map(Endpoint::decode).toList();
                    Lineage lineage = new Lineage(generation, group, family, server.groups(family, deadline));
                    return server.connect(rank, places, deadline, lineage);
                }

                @Override
                public void close() {
                    server.close();
                }
            };
        };
    }

    /** Gives up a group that has not formed; a communicator that was made lives on. */
    @Override
    public synchronized void close() {
        if (rendezvous == null) {
            closeQuietly(listener);
        } else {
            rendezvous.giveUp("rank " + rendezvous.rank() + " gave up while the group formed");
        }
    }
}
