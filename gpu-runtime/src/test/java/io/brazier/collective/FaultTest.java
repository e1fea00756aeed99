package io.brazier.collective;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTimeout;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.CollectiveException.Category;
import io.brazier.collective.Groups.Wiring;
import java.time.Duration;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.function.BiFunction;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** What goes wrong is an error on every rank, soon, and says what it was. */
class FaultTest {

    /** Ten times what an abort may take. */
    private static final Duration SOON = Duration.ofSeconds(2);

    private static final int COUNT = 3 * Link.SLOT_BYTES;

    /** Each rank makes its call; returns what each got. */
    private static List<CollectiveException> failures(
            Wiring wiring, int size, BiFunction<Communicator, Floats, Work> call) throws Exception {
        return Groups.run(wiring, size, communicator -> {
            try (Floats x = new Floats(COUNT)) {
                return assertThrows(CollectiveException.class, () -> {
                    call.apply(communicator, x).await();
                    // A rank whose own part went through hears of it at the next call at the latest.
                    communicator.barrier();
                    communicator.barrier();
                });
            }
        });
    }

    private static void assertMismatch(List<CollectiveException> failures, String... parts) {
        assertTrue(failures.stream().anyMatch(failure -> failure.category() == Category.MISMATCH), failures::toString);
        for (CollectiveException failure : failures) {
            // Those that did not see it themselves are told why.
            assertTrue(
                    failure.category() == Category.MISMATCH || failure.category() == Category.ABORTED,
                    failure::toString);
            for (String part : parts) {
                assertTrue(failure.getMessage().contains(part), () -> failure + " lacks " + part);
            }
        }
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentCallsAreAnError(Wiring wiring) throws Exception {
        assertMismatch(
                failures(
                        wiring,
                        3,
                        (communicator, x) -> communicator.rank() == 1
                                ? communicator.broadcast(x.address(), 4, 1)
                                : communicator.allReduce(x.address(), COUNT, ElementType.F32)),
                "allReduce #0 of " + 4 * COUNT + " bytes",
                "broadcast #0 of 4 bytes from root 1");
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentSizesAreAnError(Wiring wiring) throws Exception {
        assertMismatch(
                failures(
                        wiring,
                        2,
                        (communicator, x) ->
                                communicator.allReduce(x.address(), COUNT - communicator.rank(), ElementType.F32)),
                "allReduce #0 of " + 4 * COUNT + " bytes",
                "allReduce #0 of " + 4 * (COUNT - 1) + " bytes");
        assertMismatch(
                failures(
                        wiring,
                        2,
                        (communicator, x) -> communicator.rank() == 0
                                ? communicator.send(x.address(), 8, 1)
                                : communicator.receive(x.address(), 12, 0)),
                "send #0 of 8 bytes",
                "send #0 of 12 bytes");
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentOrderIsAnError(Wiring wiring) throws Exception {
        assertMismatch(
                failures(wiring, 2, (communicator, x) -> {
                    if (communicator.rank() == 0) {
                        communicator.allGather(x.address(), 2);
                        return communicator.reduceScatter(x.address(), 2, ElementType.F32);
                    }
                    communicator.reduceScatter(x.address(), 2, ElementType.F32);
                    return communicator.allGather(x.address(), 2);
                }),
                "allGather #0",
                "reduceScatter #0");
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void differentRootsAreAnError(Wiring wiring) throws Exception {
        assertMismatch(
                failures(wiring, 2, (communicator, x) -> communicator.broadcast(x.address(), 4, communicator.rank())),
                "root 0",
                "root 1");
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void abortEndsWhatIsInFlightOnAllRanks(Wiring wiring) throws Exception {
        List<Communicator> group = Groups.connect(wiring, 3, Groups.DEADLINE);
        CountDownLatch waiting = new CountDownLatch(2);
        // Rank 2 never calls, so ranks 0 and 1 wait for it until it aborts, from two threads and more than once.
        Groups.onThreads(4, thread -> {
            Communicator communicator = group.get(Math.min(thread, 2));
            try (Floats x = new Floats(COUNT)) {
                if (thread < 2) {
                    Work first = communicator.allReduce(x.address(), COUNT, ElementType.F32);
                    Work second = communicator.allReduce(x.address(), COUNT, ElementType.F32);
                    waiting.countDown();
                    waiting.await();
                    assertTimeout(SOON, () -> {
                        for (Work work : List.of(first, second)) {
                            CollectiveException failure = assertThrows(CollectiveException.class, work::await);
                            assertInstanceOf(CommunicatorAbortedException.class, failure);
                            assertTrue(failure.getMessage().contains("task killed"), failure::getMessage);
                        }
                    });
                } else {
                    waiting.await();
                    communicator.abort("task killed");
                    communicator.abort("task killed again");
                }
                assertThrows(CommunicatorAbortedException.class, communicator::barrier);
                assertThrows(CommunicatorAbortedException.class, () -> communicator.allGatherBytes(new byte[] {1, 2}));
            }
            return null;
        });
        group.forEach(Communicator::close);
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void aPeerThatDoesNotMoveIsNamedAtTheDeadline(Wiring wiring) throws Exception {
        CountDownLatch over = new CountDownLatch(1);
        Groups.run(wiring, 2, Duration.ofMillis(500), communicator -> {
            if (communicator.rank() == 1) {
                over.await();
                return null;
            }
            try (Floats x = new Floats(COUNT)) {
                CollectiveException failure = assertThrows(CollectiveException.class, () -> communicator
                        .allReduce(x.address(), COUNT, ElementType.F32)
                        .await());
                assertEquals(Category.TIMEOUT, failure.category());
                for (String part : List.of("allReduce #0", "on rank 0", "waits for rank 1", "500 ms")) {
                    assertTrue(failure.getMessage().contains(part), failure::getMessage);
                }
            } finally {
                over.countDown();
            }
            return null;
        });
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void aPeerThatLeftIsMissedAtTheNextCall(Wiring wiring) throws Exception {
        List<Communicator> group = Groups.connect(wiring, 2, Groups.DEADLINE);
        Groups.onThreads(2, rank -> {
            try (Communicator communicator = group.get(rank);
                    Floats x = new Floats(COUNT)) {
                communicator.allReduce(x.address(), COUNT, ElementType.F32).await();
                if (rank == 0) {
                    CollectiveException failure = assertThrows(CollectiveException.class, communicator::barrier);
                    assertEquals(Category.PEER_LOST, failure.category());
                    assertTrue(failure.getMessage().contains("rank 1"), failure::getMessage);
                }
            }
            return null;
        });
        assertThrows(IllegalStateException.class, group.get(0)::barrier);
    }

    @ParameterizedTest
    @EnumSource(Wiring.class)
    void anInterruptOfTheWaitingThreadEndsTheGroup(Wiring wiring) throws Exception {
        Groups.run(wiring, 2, communicator -> {
            if (communicator.rank() == 0) {
                Thread.currentThread().interrupt();
            }
            CollectiveException failure = assertThrows(CollectiveException.class, () -> {
                try (Floats x = new Floats(4)) {
                    communicator
                            .receive(x.address(), 16, 1 - communicator.rank())
                            .await();
                }
            });
            assertEquals(communicator.rank() == 0, Thread.interrupted());
            assertEquals(Category.ABORTED, failure.category());
            assertTrue(failure.getMessage().contains("interrupted"), failure::getMessage);
            return null;
        });
    }
}
