package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cudart.*;
import static org.bytedeco.cuda.global.nccl.*;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.BufferedReader;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.bytedeco.cuda.cudart.CUgraphExec_st;
import org.bytedeco.cuda.cudart.CUgraph_st;
import org.bytedeco.cuda.nccl.ncclComm;
import org.bytedeco.cuda.nccl.ncclConfig_t;
import org.bytedeco.cuda.nccl.ncclUniqueId;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The stand-in for NCCL, through the presets: threads and processes, and mistakes that a real NCCL answers with a hang. */
@Tag("cuda")
class SimulatedNcclTest {
    /** The code that lets a planted call hang. */
    private static final int HANG = -1;

    private static final String[] NONE = {};

    @BeforeEach
    void forget() {
        Cudasim.load();
        Cudasim.takeViolations();
    }

    @AfterEach
    void clear() {
        Cudasim.clearFaults();
    }

    /** The same on every rank that asks: numbers of a rank. */
    private static float[] numbers(int rank, int count) {
        Random random = new Random(rank);
        float[] values = new float[count];
        for (int x = 0; x < count; x++) {
            values[x] = random.nextFloat();
        }
        return values;
    }

    private static float[] sums(int numRanks, int count) {
        float[] sums = numbers(0, count);
        for (int rank = 1; rank < numRanks; rank++) {
            float[] other = numbers(rank, count);
            for (int x = 0; x < count; x++) {
                sums[x] += other[x];
            }
        }
        return sums;
    }

    @Test
    void sumsAreThoseOfTheRanksInTheirOrder() throws Exception {
        NcclRank.threads(4, self -> {
            Pointer in = self.rank.upload(numbers(self.number, 1001));
            Pointer out = self.rank.empty(4004);
            self.made(ncclAllReduce(in, out, 1001, ncclFloat, ncclSum, self.communicator, self.rank.stream));
            assertArrayEquals(sums(4, 1001), self.rank.downloadFloats(out, 1001));
            self.made(ncclReduce(in, out, 500, ncclFloat, ncclSum, 2, self.communicator, self.rank.stream));
            self.made(ncclAllReduce(in, in, 1001, ncclFloat, ncclMax, self.communicator, self.rank.stream));
            float[] reduced = self.rank.downloadFloats(out, 1001);
            float[] sums = sums(4, 1001);
            System.arraycopy(sums(4, 1001), 0, sums, 0, 500);
            assertArrayEquals(sums, reduced);
            float[] largest = self.rank.downloadFloats(in, 1001);
            for (int x = 0; x < 1001; x++) {
                float most = 0;
                for (int rank = 0; rank < 4; rank++) {
                    most = Math.max(most, numbers(rank, 1001)[x]);
                }
                assertEquals(most, largest[x]);
            }
        });
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void sumsOfBf16AreRoundedAtEveryRank() throws Exception {
        NcclRank.threads(3, self -> {
            ByteBuffer bits = ByteBuffer.allocate(4).order(ByteOrder.nativeOrder());
            bits.putShort((short) (Float.floatToIntBits(self.number == 0 ? 256 : 1) >> 16))
                    .putShort((short) 0);
            Pointer buffer = self.rank.upload(bits);
            self.made(ncclAllReduce(buffer, buffer, 2, ncclBfloat16, ncclSum, self.communicator, self.rank.stream));
            float sum = Float.intBitsToFloat(self.rank.download(buffer, 4).getShort(0) << 16);
            assertEquals(256, sum, "256 + 1 is 256 in bf16, twice");
        });
    }

    @Test
    void everyRankGetsItsPart() throws Exception {
        NcclRank.threads(4, self -> {
            ncclComm communicator = self.communicator;
            float[] own = numbers(self.number, 12);
            Pointer in = self.rank.upload(own);
            Pointer all = self.rank.empty(4 * 48);
            Pointer part = self.rank.empty(4 * 3);
            self.made(ncclAllGather(in, all, 12, ncclFloat, communicator, self.rank.stream));
            self.made(ncclReduceScatter(in, part, 3, ncclFloat, ncclSum, communicator, self.rank.stream));
            self.made(ncclBroadcast(in, in, 12, ncclFloat, 3, communicator, self.rank.stream));
            float[] gathered = self.rank.downloadFloats(all, 48);
            for (int x = 0; x < 48; x++) {
                assertEquals(numbers(x / 12, 12)[x % 12], gathered[x]);
            }
            float[] scattered = self.rank.downloadFloats(part, 3);
            for (int x = 0; x < 3; x++) {
                assertEquals(sums(4, 12)[3 * self.number + x], scattered[x]);
            }
            assertArrayEquals(numbers(3, 12), self.rank.downloadFloats(in, 12));
        });
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void transfersOfAGroupGoOnTogether() throws Exception {
        NcclRank.threads(4, self -> {
            Pointer out = self.rank.upload(self.number, 7);
            Pointer in = self.rank.empty(8);
            assertEquals(ncclSuccess, ncclGroupStart());
            ncclRecv(in, 2, ncclFloat, (self.number + 3) % 4, self.communicator, self.rank.stream);
            ncclSend(out, 2, ncclFloat, (self.number + 1) % 4, self.communicator, self.rank.stream);
            self.made(ncclGroupEnd());
            assertArrayEquals(new float[] {(self.number + 3) % 4, 7}, self.rank.downloadFloats(in, 2));
        });
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void partsOfACommunicatorAreOrderedByKey() throws Exception {
        NcclRank.threads(4, self -> {
            PointerPointer<ncclComm> made = new PointerPointer<>(1);
            int color = self.number == 3 ? NCCL_SPLIT_NOCOLOR : 5;
            int result = ncclCommSplit(self.communicator, color, -self.number, made, NcclRank.nonBlocking());
            ncclComm part = made.get(ncclComm.class);
            if (self.number == 3) {
                assertEquals(ncclSuccess, result);
                assertNull(part);
                return;
            }
            assertEquals(ncclInProgress, result);
            assertEquals(ncclSuccess, NcclRank.settled(part));
            int[] number = new int[1];
            assertEquals(ncclSuccess, ncclCommUserRank(part, number));
            assertEquals(2 - self.number, number[0]);
            Pointer buffer = self.rank.upload(self.number);
            ncclBroadcast(buffer, buffer, 1, ncclFloat, 0, part, self.rank.stream);
            assertEquals(ncclSuccess, NcclRank.settled(part));
            assertArrayEquals(new float[] {2}, self.rank.downloadFloats(buffer, 1));
            assertEquals(ncclSuccess, ncclCommDestroy(part));
        });
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void aGraphRepeatsItsCollectives() throws Exception {
        NcclRank.threads(2, self -> {
            Pointer buffer = self.rank.upload(1, 2);
            CUgraph_st graph = new CUgraph_st();
            CUgraphExec_st executable = new CUgraphExec_st();
            assertEquals(CUDA_SUCCESS, cuStreamBeginCapture(self.rank.stream, CU_STREAM_CAPTURE_MODE_THREAD_LOCAL));
            self.made(ncclAllReduce(buffer, buffer, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream));
            assertEquals(CUDA_SUCCESS, cuStreamEndCapture(self.rank.stream, graph));
            assertEquals(CUDA_SUCCESS, cuGraphInstantiate(executable, graph, 0));
            for (int x = 0; x < 3; x++) {
                assertEquals(CUDA_SUCCESS, cuGraphLaunch(executable, self.rank.stream));
            }
            assertArrayEquals(new float[] {8, 16}, self.rank.downloadFloats(buffer, 2));
            assertEquals(CUDA_SUCCESS, cuGraphExecDestroy(executable));
            assertEquals(CUDA_SUCCESS, cuGraphDestroy(graph));
        });
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    private static void mistake(NcclRank.Body calls, String... parts) throws Exception {
        NcclRank.threads(2, self -> {
            calls.run(self);
            assertEquals(ncclInvalidUsage, self.failure());
            self.abort();
        });
        String[] violations = Cudasim.takeViolations();
        assertEquals(1, violations.length, String.join("\n", violations));
        for (String part : parts) {
            assertTrue(violations[0].contains(part), violations[0]);
        }
    }

    @Test
    void callsInAnotherOrderAreNamed() throws Exception {
        mistake(
                self -> {
                    Pointer one = self.rank.upload(1, 2);
                    Pointer all = self.rank.empty(16);
                    for (int x = 0; x < 2; x++) {
                        int result = x == self.number
                                ? ncclAllReduce(one, one, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream)
                                : ncclAllGather(one, all, 2, ncclFloat, self.communicator, self.rank.stream);
                        assertTrue(result == ncclInProgress || result == ncclSuccess || x == 1);
                        self.settled();
                    }
                },
                "ncclAllReduce(count 2, float32, sum)",
                "ncclAllGather(count 2, float32)");
    }

    @Test
    void otherCountsAreNamed() throws Exception {
        mistake(
                self -> {
                    Pointer buffer = self.rank.upload(1, 2, 3);
                    ncclAllReduce(
                            buffer, buffer, 2 + self.number, ncclFloat, ncclSum, self.communicator, self.rank.stream);
                },
                "count 2",
                "count 3");
        mistake(
                self -> {
                    Pointer buffer = self.rank.upload(1, 2, 3);
                    if (self.number == 0) {
                        ncclSend(buffer, 3, ncclFloat, 1, self.communicator, self.rank.stream);
                    } else {
                        ncclRecv(buffer, 2, ncclFloat, 0, self.communicator, self.rank.stream);
                    }
                },
                "rank 0 calls ncclSend(count 3, float32, peer 1)",
                "rank 1 calls ncclRecv(count 2, float32, peer 0)");
    }

    @Test
    void transfersOutsideOfAGroupThatCrossAreNamed() throws Exception {
        mistake(
                self -> {
                    Pointer buffer = self.rank.upload(1, 2);
                    ncclSend(buffer, 2, ncclFloat, 1 - self.number, self.communicator, self.rank.stream);
                },
                "wait for each other",
                "rank 0 calls ncclSend",
                "rank 1 calls ncclSend");
    }

    @Test
    void aCallThatHangsEndsWhenAborted() throws Exception {
        Cudasim.failCall("ncclAllReduce", 1, HANG);
        NcclRank.threads(2, self -> {
            Pointer buffer = self.rank.upload(1, 2);
            self.made(ncclAllReduce(buffer, buffer, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream));
            long start = System.nanoTime();
            while (System.nanoTime() - start < 200_000_000L) {
                assertEquals(CUDA_ERROR_NOT_READY, cuStreamQuery(self.rank.stream));
            }
            self.abort();
        });
    }

    @Test
    void aConfigurationThatNobodyInitializedIsRefused() {
        try (Rank rank = new Rank(0);
                ncclConfig_t config = NcclRank.nonBlocking()) {
            config.minCTAs(0);
            PointerPointer<ncclComm> made = new PointerPointer<>(1);
            assertEquals(ncclInvalidArgument, ncclCommInitRankConfig(made, 1, NcclRank.newId(), 0, config));
            rank.synchronize();
        }
    }

    @Test
    void aRankThatDoesNotKnowTheSecretIsTurnedAway() {
        try (Rank rank = new Rank(0)) {
            ncclUniqueId id = NcclRank.newId();
            int last = NCCL_UNIQUE_ID_BYTES - 1;
            id.internal(last, (byte) (id.internal(last) + 1));
            PointerPointer<ncclComm> made = new PointerPointer<>(1);
            assertEquals(ncclInProgress, ncclCommInitRankConfig(made, 1, id, 0, NcclRank.nonBlocking()));
            ncclComm communicator = made.get(ncclComm.class);
            assertEquals(ncclRemoteError, NcclRank.settled(communicator));
            assertEquals(ncclSuccess, ncclCommAbort(communicator));
            rank.synchronize();
        }
    }

    @Test
    void anIdServesOneCommunicator() throws Exception {
        ncclUniqueId id = NcclRank.newId();
        try (NcclRank first = new NcclRank(id, 0, 1, 0)) {
            PointerPointer<ncclComm> made = new PointerPointer<>(1);
            assertEquals(ncclInProgress, ncclCommInitRankConfig(made, 1, id, 0, NcclRank.nonBlocking()));
            ncclComm second = made.get(ncclComm.class);
            assertEquals(ncclInvalidUsage, NcclRank.settled(second));
            assertEquals(ncclSuccess, ncclCommAbort(second));
            assertEquals(1, Cudasim.takeViolations().length);
            assertEquals(ncclSuccess, first.settled());
        }
    }

    /** On a device that no other test uses: it is lost afterwards. */
    @Test
    void aCommunicatorOfALostDeviceCanBeDestroyed() {
        NcclRank self = new NcclRank(NcclRank.newId(), 0, 1, 12);
        Pointer buffer = self.rank.upload(1, 2);
        self.made(ncclAllReduce(buffer, buffer, 3, ncclFloat, ncclSum, self.communicator, self.rank.stream));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(self.rank.stream));
        assertTrue(Cudasim.takeViolations()[0].contains("ncclAllReduce(count 3, float32, sum)"));
        assertEquals(ncclSuccess, ncclCommDestroy(self.communicator));
    }

    @Test
    void processesAddAndNoticeThatOneWasKilled() throws Exception {
        ncclUniqueId id = NcclRank.newId();
        Process other = NcclWorker.start(id, 1, 2);
        try (NcclRank self = new NcclRank(id, 0, 2, 0);
                BufferedReader says = other.inputReader()) {
            Pointer buffer = self.rank.upload(1, 10);
            self.made(ncclAllReduce(buffer, buffer, 2, ncclFloat, ncclSum, self.communicator, self.rank.stream));
            assertArrayEquals(new float[] {3, 20}, self.rank.downloadFloats(buffer, 2));
            assertEquals("SUM 3.0 20.0", says.readLine());
            assertEquals("ASKED", says.readLine());
            other.destroyForcibly();
            assertTrue(other.waitFor(60, TimeUnit.SECONDS));
            assertEquals(ncclRemoteError, self.failure());
            self.abort();
        } finally {
            other.destroyForcibly();
        }
    }
}
