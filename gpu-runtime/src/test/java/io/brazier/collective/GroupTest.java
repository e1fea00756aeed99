package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Groups.Wiring;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Groups of some ranks, over every wiring. */
class GroupTest {

    private static final int COUNT = 3 * Link.SLOT_BYTES / Float.BYTES + 7;
    private static final Duration SOON = Duration.ofSeconds(10);

    /** A rank's row and column of a 2 x 2 mesh. */
    private static int[] row(int rank) {
        return rank < 2 ? new int[] {0, 1} : new int[] {2, 3};
    }

    private static int[] column(int rank) {
        // Not in order, so that the ranks of the group are numbered otherwise.
        return rank % 2 == 0 ? new int[] {2, 0} : new int[] {3, 1};
    }

    private static float[] sum(int[] ranks, int seed) {
        float[] sum = Floats.random(ranks[0], COUNT, seed);
        for (int r = 1; r < ranks.length; r++) {
            float[] x = Floats.random(ranks[r], COUNT, seed);
            for (int i = 0; i < COUNT; i++) {
                sum[i] += x[i];
            }
        }
        return sum;
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void eachGroupSumsInTheOrderOfItsRanks(Wiring wiring) throws Exception {
        Groups.run(wiring, 4, communicator -> {
            int rank = communicator.rank();
            List<int[]> members = List.of(row(rank), column(rank), new int[] {3, 1, 0, 2}, new int[] {rank});
            for (int g = 0; g < members.size(); g++) {
                int[] ranks = members.get(g);
                Communicator group = communicator.group("g" + g, ranks);
                assertEquals(ranks.length, group.size());
                assertEquals(rank, ranks[group.rank()]);
                try (Floats x = Floats.of(Floats.random(rank, COUNT, g))) {
                    group.allReduce(x.address(), COUNT, ElementType.F32).await();
                    assertArrayEquals(sum(ranks, g), x.get());
                }
                byte[][] all = group.allGatherBytes(new byte[] {(byte) rank});
                for (int r = 0; r < ranks.length; r++) {
                    assertEquals(ranks[r], all[r][0]);
                }
            }
            // A group made from a group: ranks are the row's.
            Communicator again = communicator.group("row", row(rank)).group("row again", 1, 0);
            assertEquals(1 - rank % 2, again.rank());
            again.barrier();
            communicator.barrier();
            return null;
        });
    }

    /** The reason for groups: ranks that wait for one group's call after another's, in different orders. */
    @ParameterizedTest
    @EnumSource(Wiring.class)
    void groupsDoNotWaitForEachOther(Wiring wiring) throws Exception {
        Groups.run(wiring, 2, communicator -> {
            Communicator first = communicator.group("first", 0, 1);
            Communicator second = communicator.group("second", 0, 1);
            boolean forward = communicator.rank() == 0;
            for (int repeat = 0; repeat < 20; repeat++) {
                float[] want = sum(new int[] {0, 1}, repeat);
                try (Floats x = Floats.of(Floats.random(communicator.rank(), COUNT, repeat));
                        Floats y = Floats.of(Floats.random(communicator.rank(), COUNT, repeat))) {
                    Work x1 = forward ? first.allReduce(x.address(), COUNT, ElementType.F32) : null;
                    Work y1 = second.allReduce(y.address(), COUNT, ElementType.F32);
                    // Rank 1 calls the first only when the second is done, though rank 0 called the first before.
                    y1.await();
                    (forward ? x1 : first.allReduce(x.address(), COUNT, ElementType.F32)).await();
                    assertArrayEquals(want, x.get());
                    assertArrayEquals(want, y.get());
                }
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void abortOfAGroupEndsWaitersInOthers(Wiring wiring) throws Exception {
        CountDownLatch waiting = new CountDownLatch(4);
        Groups.run(wiring, 4, communicator -> {
            int rank = communicator.rank();
            Communicator row = communicator.group("row", row(rank));
            Communicator column = communicator.group("column", column(rank));
            try (Floats x = new Floats(COUNT)) {
                Communicator waited = rank == 1 ? row : rank == 2 ? column : communicator;
                Work work = rank == 0 ? null : waited.allReduce(x.address(), COUNT, ElementType.F32);
                waiting.countDown();
                if (rank == 0) {
                    waiting.await();
                    column.abort("task killed");
                }
                assertTimeout(SOON, () -> {
                    CollectiveException failure =
                            assertThrows(CommunicatorAbortedException.class, rank == 0 ? row::barrier : work::await);
                    for (String part : List.of("task killed", "group column of ranks [2, 0]")) {
                        assertTrue(failure.getMessage().contains(part), failure::getMessage);
                    }
                });
                for (Communicator other : List.of(row, column, communicator)) {
                    assertThrows(CommunicatorAbortedException.class, other::barrier);
                }
                assertThrows(CollectiveException.class, () -> communicator.group("late", 0, 1, 2, 3));
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void errorsNameTheGroupAndItsRanks(Wiring wiring) throws Exception {
        List<CollectiveException> failures = Groups.run(wiring, 3, communicator -> {
            if (communicator.rank() == 1) {
                return assertThrows(CollectiveException.class, communicator::barrier);
            }
            Communicator group = communicator.group("tp", 2, 0);
            try (Floats x = new Floats(8)) {
                return assertThrows(CollectiveException.class, () -> {
                    group.allReduce(x.address(), 4 + group.rank(), ElementType.F32)
                            .await();
                    group.barrier();
                });
            }
        });
        for (CollectiveException failure : failures) {
            for (String part : List.of("group tp of ranks [2, 0]", "allReduce #0 of 16", "allReduce #0 of 20")) {
                assertTrue(failure.getMessage().contains(part), failure::getMessage);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentGroupsAreAnError(Wiring wiring) throws Exception {
        List<CollectiveException> failures = Groups.run(
                wiring,
                2,
                communicator -> assertThrows(
                        CollectiveException.class,
                        () -> communicator.group(communicator.rank() == 0 ? "dp" : "tp", 0, 1)));
        assertTrue(failures.stream().anyMatch(failure -> failure.category() == Category.MISMATCH), failures::toString);
        for (CollectiveException failure : failures) {
            assertTrue(failure.getMessage().contains("group dp of ranks [0, 1]"), failure::getMessage);
            assertTrue(failure.getMessage().contains("group tp of ranks [0, 1]"), failure::getMessage);
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void aMemberThatDoesNotComeIsNamedAtTheDeadline(Wiring wiring) throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        Groups.run(wiring, 2, Duration.ofMillis(500), communicator -> {
            if (communicator.rank() == 1) {
                over.await();
                return null;
            }
            CollectiveException failure = assertThrows(CollectiveException.class, () -> communicator.group("pp", 0, 1));
            over.countDown();
            for (String part : List.of("group pp of ranks [0, 1]", "waits for rank 1", "500 ms")) {
                assertTrue(failure.getMessage().contains(part), failure::getMessage);
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void closeOfTheParentClosesTheGroups(Wiring wiring) throws Exception {
        Groups.run(wiring, 2, communicator -> {
            Communicator group = communicator.group("dp", 0, 1);
            Communicator alone = communicator.group("tp", communicator.rank());
            try (Floats x = Floats.of(Floats.random(communicator.rank(), COUNT, 1))) {
                group.allReduce(x.address(), COUNT, ElementType.F32);
                alone.allReduce(x.address(), COUNT, ElementType.F32);
                communicator.close();
                assertArrayEquals(sum(new int[] {0, 1}, 1), x.get());
            }
            assertThrows(IllegalStateException.class, group::barrier);
            assertThrows(IllegalStateException.class, alone::barrier);
            assertThrows(IllegalStateException.class, () -> communicator.group("late", 0, 1));
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void badMembersAreRefusedAtTheCall(Wiring wiring) throws Exception {
        Groups.run(wiring, 2, communicator -> {
            int rank = communicator.rank();
            communicator.group("taken", 0, 1);
            assertThrows(IllegalArgumentException.class, () -> communicator.group("taken", 0, 1));
            assertThrows(IllegalArgumentException.class, () -> communicator.group("other", 1 - rank));
            assertThrows(IllegalArgumentException.class, () -> communicator.group("other", 0, 1, 0));
            assertThrows(IllegalArgumentException.class, () -> communicator.group("other", 0, 1, 2));
            assertThrows(IllegalArgumentException.class, () -> communicator.group("other"));
            assertThrows(IllegalArgumentException.class, () -> communicator.group(" ", 0, 1));
            communicator.barrier();
            return null;
        });
    }
}
