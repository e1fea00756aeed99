package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cpu.CpuBackend;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.explain.PlanReport;
import io.brazier.plan.RankPlan;
import io.brazier.plan.TrainingPlan;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** What a report says a rank needs is what its engine allocates, to the byte, and holds all that it works on. */
class PlannedBytesTest {
    /** A region ends at a multiple of a huge page. */
    private static final long PAGE = 2L << 20;

    static Stream<LayoutCase> cases() {
        return inBothPrecisions(30);
    }

    static Stream<LayoutCase> trained() {
        return inBothPrecisions(6);
    }

    private static Stream<LayoutCase> inBothPrecisions(int count) {
        return RandomLayouts.first(count, 8, 5).flatMap(c -> Stream.of(c, c.inBrainFloats()));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void theArenaIsWhatWasPlannedAndHoldsEveryOperand(LayoutCase c) {
        PlanReport report = report(c);
        int size = c.layout().mesh().worldSize();
        long peak = 0;
        for (int rank = 0; rank < size; rank++) {
            ArenaBounds device = new ArenaBounds();
            RankPlan plan =
                    TrainingPlan.make(c.request(rank), device::workspaceBytes).plan();
            try (LoadedPlan loaded = new LoadedPlan(plan, device, Fill.NAN)) {
                plan.schedule().forEach(loaded::run);
                assertEquals(report.share(rank).arenaBytes(), device.allocatedBytes(), "rank " + rank + " of " + c);
                assertTrue(device.usedBytes() > device.allocatedBytes() - PAGE, "rank " + rank + " of " + c);
                peak = Math.max(peak, device.allocatedBytes());
            }
            assertEquals(0, device.allocatedBytes());
        }
        assertEquals(peak, report.peakBytes());
        assertEquals(peak, PlanReport.peakBytes(c.request(0), new CpuBackend(1)::workspaceBytes));
    }

    @ParameterizedTest
    @MethodSource("trained")
    void enginesOfTheCpuAllocateTheSame(LayoutCase c) {
        PlanReport report = report(c);
        List<Long> planned = IntStream.range(0, c.layout().mesh().worldSize())
                .mapToObj(rank -> report.share(rank).arenaBytes())
                .toList();
        assertEquals(planned, c.train().memoryBytes(), c.toString());
    }

    private static PlanReport report(LayoutCase c) {
        return PlanReport.of(c.request(0), new CpuBackend(1)::workspaceBytes);
    }
}
