package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Mesh;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Members of a group call the same things in the same order, and nobody waits for ever: read off the plans of all ranks. */
class CallOrderTest {
    static Stream<LayoutCase> cases() {
        return Stream.concat(RandomLayouts.first(40, 16, 1), RandomLayouts.withExperts(20, 16, 1));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void everyCallMeetsItsPeers(LayoutCase c) {
        assertEquals(List.of(), c.violations());
        List<TrainingPlan> plans = IntStream.range(0, c.layout().mesh().worldSize())
                .mapToObj(rank -> plan(c, rank))
                .toList();
        assertTrue(CallOrder.play(plans, false) > 0);
        assertEquals(c.layout().mesh().worldSize() > 1 && needsPeers(c), CallOrder.play(plans, true) > 0);
    }

    private static TrainingPlan plan(LayoutCase c, int rank) {
        return TrainingPlan.make(c.request(rank), i -> 0);
    }

    @Test
    void tellsOrdersThatDoNotMeet() {
        Ranks ranks = new Ranks(GptConfig.of(19, 8, 2, 2, 8), 4, 8, 0, 1);
        LayoutCase early = new LayoutCase(ranks, Layout.of(new Mesh(1, 2, 1, 1, 1)), 4);
        LayoutCase late = new LayoutCase(ranks, early.layout().withSchedule(Schedule.GPIPE, 1), 4);
        LayoutCase fewer = new LayoutCase(ranks, early.layout(), 2);
        LayoutCase tensor = new LayoutCase(ranks, Layout.of(new Mesh(1, 1, 1, 1, 2)), 1);
        LayoutCase sequence = new LayoutCase(ranks, tensor.layout().withSequenceParallel(), 1);
        assertThrows(AssertionError.class, () -> CallOrder.play(List.of(plan(early, 0), plan(fewer, 1)), false));
        assertThrows(AssertionError.class, () -> CallOrder.play(List.of(plan(tensor, 0), plan(sequence, 1)), false));
        // All forwards before all backwards beside one of each in turn: the first rank waits for a gradient of the
        // second.
        assertThrows(AssertionError.class, () -> CallOrder.play(List.of(plan(early, 0), plan(late, 1)), false));
    }

    /** Forward alone exchanges nothing between replicas unless their weights are sharded. */
    private static boolean needsPeers(LayoutCase c) {
        boolean sharded = c.layout().zeroStage() == 3;
        return sharded || c.layout().mesh().worldSize() > c.layout().mesh().dp();
    }
}
