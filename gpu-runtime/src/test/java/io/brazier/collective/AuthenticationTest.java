package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Groups.Wiring;
import io.brazier.cpu.CpuCommunicators;
import java.io.IOException;
import java.net.ConnectException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.net.SocketException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.api.Assumptions;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Strangers do not get in, do not disturb, and cannot change a byte. */
class AuthenticationTest {

    private static final Duration DEADLINE = Duration.ofSeconds(30);
    private static final int SOCKET_MILLIS = 10_000;
    private static final int COUNT = 2 * Link.SLOT_BYTES;

    private static CommunicatorServer open(long generation, byte[] secret) {
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        return CpuCommunicators.open(generation, secret, temporary, InetAddress.getLoopbackAddress(), Transport.TCP);
    }

    private static Socket dial(Endpoint endpoint) throws IOException {
        Socket socket = new Socket();
        socket.connect(new InetSocketAddress(endpoint.address(), endpoint.port()), SOCKET_MILLIS);
        socket.setSoTimeout(SOCKET_MILLIS);
        return socket;
    }

    /** Bytes that the other side sends before it closes. */
    private static int readToEnd(Socket socket) throws IOException {
        try {
            return socket.getInputStream().readAllBytes().length;
        } catch (SocketException reset) {
            return 0;
        }
    }

    /** Connects a group of two in which rank 1 opened with these; rank 0 is of generation 7. */
    private static CollectiveException refused(long generation, byte[] secret) throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(generation, secret));
        List<Endpoint> endpoints =
                servers.stream().map(CommunicatorServer::endpoint).toList();
        List<CollectiveException> failures = Groups.onThreads(2, rank -> {
            CollectiveException failure = assertThrows(
                    CollectiveException.class, () -> servers.get(rank).connect(rank, endpoints, DEADLINE));
            // The honest rank waits for one that never comes; it need not wait for its deadline here.
            servers.get(0).close();
            return failure;
        });
        return failures.get(1);
    }

    @Test
    void aWrongSecretIsRefusedAndNotShown() throws Exception {
        byte[] wrong = Groups.SECRET.clone();
        wrong[31] ^= 1;
        CollectiveException failure = refused(7, wrong);
        assertEquals(Category.AUTHENTICATION, failure.category());
        assertFalse(failure.toString().contains(new String(Groups.SECRET, StandardCharsets.US_ASCII)));
        assertEquals("Secret(hidden)", new Secret(wrong).toString());
    }

    @Test
    void anotherGenerationIsRefused() throws Exception {
        assertEquals(Category.AUTHENTICATION, refused(8, Groups.SECRET).category());
    }

    @Test
    void aListenerThatDoesNotKnowTheSecretIsRefused() throws Exception {
        Secret secret = new Secret(Groups.SECRET);
        Handshake.Claim claim = new Handshake.Claim(7, 1, 0, Handshake.Purpose.DATA);
        byte[] nonce = Secret.nonce(Handshake.NONCE_BYTES);
        byte[] own = Secret.nonce(Handshake.NONCE_BYTES);
        byte[] message = Handshake.claim(secret, claim, nonce, own);
        Handshake.Accepted accepted = Handshake.accept(secret, 7, 0, nonce, message);
        assertNotNull(Handshake.finish(secret, claim, nonce, own, accepted.proof()));
        // The listener's proof is not the dialler's own tag sent back.
        byte[] echoed = java.util.Arrays.copyOfRange(message, Handshake.CLAIM_BYTES - 32, Handshake.CLAIM_BYTES);
        assertNull(Handshake.finish(secret, claim, nonce, own, echoed));
    }

    @Test
    void aRecordedClaimIsRefusedUnderAnotherNonceRankOrGeneration() {
        Secret secret = new Secret(Groups.SECRET);
        byte[] nonce = Secret.nonce(Handshake.NONCE_BYTES);
        byte[] message = Handshake.claim(
                secret,
                new Handshake.Claim(7, 2, 1, Handshake.Purpose.CONTROL),
                nonce,
                Secret.nonce(Handshake.NONCE_BYTES));
        assertNotNull(Handshake.accept(secret, 7, 1, nonce, message));
        assertNull(Handshake.accept(secret, 7, 1, Secret.nonce(Handshake.NONCE_BYTES), message));
        assertNull(Handshake.accept(secret, 7, 0, nonce, message));
        assertNull(Handshake.accept(secret, 8, 1, nonce, message));
        for (int x = 0; x < message.length; x++) {
            byte[] altered = message.clone();
            altered[x] ^= 0x40;
            assertNull(Handshake.accept(secret, 7, 1, nonce, altered), "byte " + x);
        }
    }

    @Test
    void theSecondClaimOfARankIsRefused() throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(7, Groups.SECRET));
        List<Endpoint> endpoints =
                servers.stream().map(CommunicatorServer::endpoint).toList();
        Dialler dialler =
                new Dialler(new Secret(Groups.SECRET), DEADLINE, System.nanoTime() + DEADLINE.toNanos(), () -> {});
        Handshake.Claim claim = new Handshake.Claim(7, 1, 0, Handshake.Purpose.CONTROL);
        Groups.onThreads(2, rank -> {
            if (rank == 0) {
                assertThrows(CollectiveException.class, () -> servers.get(0).connect(0, endpoints, DEADLINE));
                return null;
            }
            Dialler.Connection first = dialler.dial(endpoints.get(0), claim);
            CollectiveException failure =
                    assertThrows(CollectiveException.class, () -> servers.get(1).connect(1, endpoints, DEADLINE));
            assertEquals(Category.AUTHENTICATION, failure.category());
            assertTrue(failure.getMessage().contains("claimed rank 1"), failure::getMessage);
            first.channel().close();
            return null;
        });
    }

    @Test
    void ranksMeetOverIpv6() throws Exception {
        InetAddress loopback = InetAddress.getByName("::1");
        Assumptions.assumeTrue(canBind(loopback), "this machine has no IPv6");
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        List<CommunicatorServer> servers = new ArrayList<>();
        for (int rank = 0; rank < 2; rank++) {
            servers.add(CpuCommunicators.open(7, Groups.SECRET, temporary, loopback, Transport.TCP));
        }
        List<Communicator> group = Groups.connect(servers, DEADLINE);
        Groups.onThreads(2, rank -> {
            try (Communicator communicator = group.get(rank)) {
                communicator.barrier();
            }
            return null;
        });
    }

    private static boolean canBind(InetAddress address) {
        try (ServerSocket probe = new ServerSocket(0, 1, address)) {
            return probe.isBound();
        } catch (IOException e) {
            return false;
        }
    }

    @Test
    void strangersAreClosedAndRanksStillMeet() throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(7, Groups.SECRET));
        Endpoint target = servers.get(0).endpoint();
        List<Endpoint> endpoints =
                servers.stream().map(CommunicatorServer::endpoint).toList();
        List<Communicator> group = Groups.onThreads(3, thread -> {
            if (thread == 0) {
                return servers.get(0).connect(0, endpoints, DEADLINE);
            }
            if (thread == 1) {
                // Rank 1 comes when the strangers have come and gone.
                visit(target);
                return servers.get(1).connect(1, endpoints, DEADLINE);
            }
            return null;
        });
        // Once all are here there is no port to attack.
        assertThrows(ConnectException.class, () -> dial(target).close());
        Groups.onThreads(2, rank -> {
            try (Communicator communicator = group.get(rank)) {
                communicator.barrier();
            }
            return null;
        });
    }

    private static void visit(Endpoint target) throws IOException {
        Random random = new Random(5);
        for (int x = 0; x < 50; x++) {
            byte[] garbage = new byte[random.nextInt(5000)];
            random.nextBytes(garbage);
            try (Socket socket = dial(target)) {
                socket.getOutputStream().write(garbage);
                if (garbage.length >= Handshake.CLAIM_BYTES) {
                    assertTrue(readToEnd(socket) <= Handshake.GREETING_BYTES);
                }
            } catch (SocketException closedWhileWriting) {
                // Closed before all of it was taken: what is wanted.
            }
        }
        try (Socket socket = dial(target)) {
            socket.getOutputStream()
                    .write("GET / HTTP/1.1\r\nHost: somebody.somewhere.example\r\nAccept: */*\r\n\r\n"
                            .getBytes(StandardCharsets.US_ASCII));
            readToEnd(socket);
        }
        try (Socket slow = dial(target)) {
            slow.getOutputStream().write('x');
            assertEquals(Handshake.GREETING_BYTES, readToEnd(slow));
        }
    }

    @Test
    void tenThousandIdleConnectionsDoNotKeepRanksOut() throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(7, Groups.SECRET));
        Endpoint target = servers.get(0).endpoint();
        List<Endpoint> endpoints =
                servers.stream().map(CommunicatorServer::endpoint).toList();
        CountDownLatch flooded = new CountDownLatch(1);
        List<Communicator> group = Groups.onThreads(3, thread -> {
            if (thread == 0) {
                return servers.get(0).connect(0, endpoints, DEADLINE);
            }
            if (thread == 1) {
                flooded.await();
                return servers.get(1).connect(1, endpoints, DEADLINE);
            }
            flood(target, flooded);
            return null;
        });
        Groups.onThreads(2, rank -> {
            try (Communicator communicator = group.get(rank)) {
                communicator.barrier();
            }
            return null;
        });
    }

    /** Opens the ten thousand, then goes on until the port is closed. */
    private static void flood(Endpoint target, CountDownLatch flooded) throws IOException {
        List<Socket> idle = new ArrayList<>();
        try {
            for (int x = 0; x < 100_000; x++) {
                if (x == 10_000) {
                    flooded.countDown();
                }
                idle.add(dial(target));
                if (idle.size() > 400) {
                    idle.remove(0).close();
                }
            }
        } catch (SocketException formed) {
            // The group has formed and the port is closed.
        } finally {
            for (Socket socket : idle) {
                socket.close();
            }
        }
    }

    /** Rank 1 reaches rank 0 through a proxy that alters one byte of what rank 1 sends on its data connection. */
    @ParameterizedTest
    @ValueSource(ints = {0, 9, 17, 24, 33, 39, 47, 60, 5_000, Link.SLOT_BYTES + 60, 200_000})
    void anAlteredByteOfAFrameEndsTheGroup(int at) throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(7, Groups.SECRET));
        Endpoint first = servers.get(0).endpoint();
        Endpoint second = servers.get(1).endpoint();
        try (AlteringProxy proxy = new AlteringProxy(first, Handshake.CLAIM_BYTES + at)) {
            List<List<Endpoint>> views = List.of(List.of(first, second), List.of(proxy.endpoint(), second));
            List<CollectiveException> failures = Groups.onThreads(2, rank -> {
                try (Communicator communicator = servers.get(rank).connect(rank, views.get(rank), DEADLINE);
                        Floats x = Floats.of(Floats.random(rank, COUNT, 1))) {
                    return assertThrows(CollectiveException.class, () -> {
                        communicator
                                .allReduce(x.address(), COUNT, ElementType.F32)
                                .await();
                        communicator.barrier();
                    });
                }
            });
            assertEquals(Category.AUTHENTICATION, failures.get(0).category());
            assertEquals(Category.ABORTED, failures.get(1).category());
            assertTrue(failures.get(1).getMessage().contains("altered"), failures.get(1)::getMessage);
        }
    }

    @Test
    void anAlteredByteOfTheHandshakeIsRefused() throws Exception {
        List<CommunicatorServer> servers = List.of(open(7, Groups.SECRET), open(7, Groups.SECRET));
        Endpoint first = servers.get(0).endpoint();
        Endpoint second = servers.get(1).endpoint();
        try (AlteringProxy proxy = new AlteringProxy(first, 20)) {
            List<List<Endpoint>> views = List.of(List.of(first, second), List.of(proxy.endpoint(), second));
            Groups.onThreads(2, rank -> {
                assertThrows(
                        CollectiveException.class, () -> servers.get(rank).connect(rank, views.get(rank), DEADLINE));
                servers.get(0).close();
                return null;
            });
        }
    }

    @Test
    void framesOfNoRankAreRefusedBeforeTheirSizeIsUsed() {
        for (int bytes : new int[] {-1, Link.SLOT_BYTES + 1, Integer.MAX_VALUE, Integer.MIN_VALUE}) {
            ByteBuffer frame = ByteBuffer.allocate(Call.Frame.BYTES);
            frame.putInt(32, bytes);
            assertThrows(CollectiveException.class, () -> Call.Frame.read(frame, Link.SLOT_BYTES, 0));
        }
        for (int kind : new int[] {-1, Kind.values().length, Integer.MAX_VALUE}) {
            ByteBuffer frame = ByteBuffer.allocate(Call.Frame.BYTES);
            frame.putInt(24, kind);
            assertThrows(CollectiveException.class, () -> Call.Frame.read(frame, Link.SLOT_BYTES, 0));
        }
    }

    @Test
    void everyPayloadByteCountsInItsTag() {
        byte[] bytes = new byte[2 * SharedMemory.DIGEST_BLOCK + 777];
        new Random(3).nextBytes(bytes);
        ByteBuffer payload = ByteBuffer.allocateDirect(bytes.length).put(0, bytes);
        long address = SharedMemory.address(payload);
        FrameSeal sender = new FrameSeal(new Secret(Groups.SECRET));
        ByteBuffer header = ByteBuffer.allocate(Call.Frame.BYTES);
        sender.header(header);
        List<byte[]> tags = new ArrayList<>(List.of(sender.payload(address, bytes.length)));
        for (int x = 0; x < bytes.length; x += 97) {
            payload.put(x, (byte) (bytes[x] ^ 1 << x % 8));
            tags.add(sender.payload(address, bytes.length));
            payload.put(x, bytes[x]);
        }
        assertEquals(tags.size(), tags.stream().map(ByteBuffer::wrap).distinct().count());
        byte[] again = sender.payload(address, bytes.length);
        assertEquals(ByteBuffer.wrap(tags.get(0)), ByteBuffer.wrap(again));
        sender.header(header);
        byte[] nextFrame = sender.payload(address, bytes.length);
        assertFalse(java.util.Arrays.equals(again, nextFrame), "a frame replayed later has another tag");
    }

    @Test
    void aWildcardAddressIsRefused() throws Exception {
        InetAddress wildcard = InetAddress.getByName("0.0.0.0");
        Path temporary = Path.of(System.getProperty("java.io.tmpdir"));
        assertThrows(
                IllegalArgumentException.class,
                () -> CpuCommunicators.open(7, Groups.SECRET, temporary, wildcard, Transport.AUTO));
        InetAddress foreign = InetAddress.getByName("192.0.2.1");
        CollectiveException failure = assertThrows(
                CollectiveException.class,
                () -> CpuCommunicators.open(7, Groups.SECRET, temporary, foreign, Transport.AUTO));
        assertEquals(Category.SETUP, failure.category());
    }

    @ParameterizedTest
    @EnumSource(
            value = Wiring.class,
            names = {"SHARED_MEMORY", "MIXED"})
    void noFileOfTheGroupStays(Wiring wiring) throws Exception {
        List<CommunicatorServer> servers = new ArrayList<>();
        for (int rank = 0; rank < 3; rank++) {
            servers.add(Groups.open(wiring == Wiring.MIXED && rank == 2 ? Transport.TCP : Transport.AUTO));
        }
        List<Communicator> group = Groups.connect(servers, DEADLINE);
        for (CommunicatorServer server : servers) {
            assertFalse(Path.of(server.endpoint().sharedFile()).toFile().exists());
        }
        Groups.onThreads(3, rank -> {
            try (Communicator communicator = group.get(rank)) {
                communicator.barrier();
            }
            return null;
        });
    }
}
