package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.Groups.Wiring;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Every call over every wiring against plain loops. */
class CommunicatorTest {

    private static final int SLOT = Link.SLOT_BYTES / Float.BYTES;
    private static final int[] COUNTS = {0, 1, 2, 7, 1000, SLOT - 1, SLOT, 3 * SLOT + 5, 11 * SLOT + 3};

    /** Sum in rank order in f32, the bits that are promised. */
    private static float[] sumInRankOrder(int size, int count, long seed) {
        float[] sum = Floats.random(0, count, seed);
        for (int rank = 1; rank < size; rank++) {
            float[] x = Floats.random(rank, count, seed);
            for (int i = 0; i < count; i++) {
                sum[i] += x[i];
            }
        }
        return sum;
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void allReduceIsTheSumInRankOrder(Wiring wiring) throws Exception {
        for (int size = 1; size <= 5; size++) {
            int ranks = size;
            Groups.run(wiring, size, communicator -> {
                for (int count : COUNTS) {
                    float[] want = sumInRankOrder(ranks, count, count);
                    for (int repeat = 0; repeat < 2; repeat++) {
                        try (Floats x = Floats.of(Floats.random(communicator.rank(), count, count))) {
                            communicator
                                    .allReduce(x.address(), count, ElementType.F32)
                                    .await();
                            assertArrayEquals(want, x.get(), 0, wiring + " " + ranks + " ranks " + count);
                        }
                    }
                }
                return null;
            });
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void reduceScatterSumsTheOwnShardAndAllGatherGivesItToAll(Wiring wiring) throws Exception {
        for (int size = 1; size <= 4; size++) {
            int ranks = size;
            Groups.run(wiring, size, communicator -> {
                for (int shard : COUNTS) {
                    int count = shard * ranks;
                    float[] own = Floats.random(communicator.rank(), count, shard);
                    float[] sum = sumInRankOrder(ranks, count, shard);
                    int begin = shard * communicator.rank();
                    try (Floats x = Floats.of(own)) {
                        communicator
                                .reduceScatter(x.address(), count, ElementType.F32)
                                .await();
                        float[] want = own.clone();
                        System.arraycopy(sum, begin, want, begin, shard);
                        assertArrayEquals(want, x.get());
                        communicator.allGather(x.address(), 4L * count).await();
                        assertArrayEquals(sum, x.get());
                    }
                }
                return null;
            });
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void broadcastCopiesTheRootsBytes(Wiring wiring) throws Exception {
        Groups.run(wiring, 3, communicator -> {
            for (int root = 0; root < 3; root++) {
                for (int count : COUNTS) {
                    try (Floats x = Floats.of(Floats.random(communicator.rank(), count, root))) {
                        communicator.broadcast(x.address(), 4L * count, root).await();
                        assertArrayEquals(Floats.random(root, count, root), x.get());
                    }
                }
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void bothMaySendBeforeTheyReceive(Wiring wiring) throws Exception {
        int count = 40 * SLOT + 1;
        Groups.run(wiring, 2, communicator -> {
            int peer = 1 - communicator.rank();
            try (Floats given = Floats.of(Floats.random(communicator.rank(), count, 1));
                    Floats taken = new Floats(count);
                    Floats more = new Floats(1)) {
                Work first = communicator.send(given.address(), 4L * count, peer);
                Work second = communicator.send(given.address(), 4, peer);
                Work third = communicator.receive(taken.address(), 4L * count, peer);
                communicator.receive(more.address(), 4, peer).await();
                third.await();
                second.await();
                first.await();
                float[] want = Floats.random(peer, count, 1);
                assertArrayEquals(want, taken.get());
                assertEquals(want[0], more.get()[0]);
                assertEquals(4L * count + 4, communicator.bytesSent());
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void allToAllMovesEveryPart(Wiring wiring) throws Exception {
        int size = 4;
        Groups.run(wiring, size, communicator -> {
            int rank = communicator.rank();
            // Rank s gives rank r the values s * 10 + r, (s + 2 r) * 9000 of them; rank 0 gives itself none.
            long[] give = new long[size];
            long[] take = new long[size];
            List<Float> given = new ArrayList<>();
            List<Float> wanted = new ArrayList<>();
            for (int peer = 0; peer < size; peer++) {
                give[peer] = 4L * 9000 * (rank + 2 * peer);
                take[peer] = 4L * 9000 * (peer + 2 * rank);
                given.addAll(java.util.Collections.nCopies((int) give[peer] / 4, rank * 10f + peer));
                wanted.addAll(java.util.Collections.nCopies((int) take[peer] / 4, peer * 10f + rank));
            }
            try (Floats from = Floats.of(array(given));
                    Floats to = new Floats(wanted.size())) {
                communicator.allToAll(from.address(), give, to.address(), take).await();
                assertArrayEquals(array(wanted), to.get());
            }
            return null;
        });
    }

    private static float[] array(List<Float> values) {
        float[] result = new float[values.size()];
        for (int x = 0; x < result.length; x++) {
            result[x] = values.get(x);
        }
        return result;
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void allGatherBytesReturnsAllByRank(Wiring wiring) throws Exception {
        for (int size = 1; size <= 4; size++) {
            int ranks = size;
            Groups.run(wiring, size, communicator -> {
                for (int unit : new int[] {0, 1, 3000, 200_000}) {
                    byte[] mine = new byte[unit * communicator.rank()];
                    Arrays.fill(mine, (byte) communicator.rank());
                    byte[][] all = communicator.allGatherBytes(mine);
                    assertEquals(ranks, all.length);
                    for (int rank = 0; rank < ranks; rank++) {
                        byte[] want = new byte[unit * rank];
                        Arrays.fill(want, (byte) rank);
                        assertArrayEquals(want, all[rank]);
                    }
                    communicator.barrier();
                }
                return null;
            });
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void callsRunInOrderWithoutWaitingForEach(Wiring wiring) throws Exception {
        int count = 5000;
        Groups.run(wiring, 3, communicator -> {
            try (Floats x = Floats.of(Floats.random(communicator.rank(), count, 9))) {
                List<Work> works = new ArrayList<>();
                for (int repeat = 0; repeat < 5; repeat++) {
                    works.add(communicator.broadcast(x.address(), 4L * count, repeat % 3));
                    works.add(communicator.allReduce(x.address(), count, ElementType.F32));
                }
                works.get(works.size() - 1).await();
                assertTrue(works.stream().allMatch(Work::isDone));
                float[] want = Floats.random(0, count, 9);
                for (int i = 0; i < count; i++) {
                    for (int repeat = 0; repeat < 5; repeat++) {
                        want[i] = want[i] + want[i] + want[i];
                    }
                }
                assertArrayEquals(want, x.get());
            }
            return null;
        });
    }

    @Test
    void badArgumentsAreRefusedAtTheCall() throws Exception {
        Groups.run(Wiring.LOCAL, 2, communicator -> {
            assertThrows(IllegalArgumentException.class, () -> communicator.reduceScatter(64, 3, ElementType.F32));
            assertThrows(IllegalArgumentException.class, () -> communicator.allReduce(64, -1, ElementType.F32));
            assertThrows(IllegalArgumentException.class, () -> communicator.broadcast(64, 4, 2));
            assertThrows(IllegalArgumentException.class, () -> communicator.send(64, 4, communicator.rank()));
            assertThrows(
                    IllegalArgumentException.class,
                    () -> communicator.allToAll(64, new long[] {1}, 64, new long[] {1}));
            communicator.barrier();
            return null;
        });
    }
}
