package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.sim.LayoutSearch.Bounds;
import io.brazier.sim.LayoutSearch.Found;
import io.brazier.sim.LayoutSearch.Query;
import io.brazier.tensor.Mesh;
import java.util.List;
import org.junit.jupiter.api.Test;

class LayoutSearchTest {
    private static final GptConfig MODEL = GptConfig.of(50257, 1024, 4, 16, 1024);
    private static final Hardware A100 = Hardware.named("a100");

    private static Query query(int numRanks, int batchSize) {
        return new Query(MODEL, numRanks, batchSize, 1024, Layout.Precision.FP32);
    }

    private static List<Found> best(Query query, Hardware hardware, int count) {
        return LayoutSearch.best(query, Bounds.of(hardware), hardware, count);
    }

    private static Hardware withMemory(double bytes) {
        return Hardware.parse("small.json", HardwareTest.file("a100.json").put("memoryBytes", bytes));
    }

    /** A model that fits whole is best trained data-parallel, as only gradients travel, and those hide. */
    @Test
    void whatFitsIsTrainedDataParallel() {
        List<Found> best = best(query(4, 32), A100, 3);
        assertEquals(3, best.size());
        assertEquals(new Mesh(4, 1, 1, 1, 1), best.get(0).layout().mesh(), best.toString());
        assertTrue(best.get(0).stepSeconds() <= best.get(1).stepSeconds(), best.toString());
        assertEquals(32, best.get(0).scenario().batchSize());
        // No hand-made layout is faster.
        for (Layout layout : List.of(
                Layout.dataParallel(4),
                Layout.of(new Mesh(2, 1, 1, 1, 2)).withSequenceParallel(),
                Layout.of(new Mesh(2, 2, 1, 1, 1)))) {
            double other = Simulator.simulate(
                            new Scenario(
                                    MODEL, layout, 4, 32 / 4 / layout.mesh().dp(), 1024),
                            A100)
                    .stepSeconds();
            assertTrue(best.get(0).stepSeconds() <= 1.001 * other, layout + " takes " + other + ": " + best);
        }
    }

    @Test
    void whatDoesNotFitIsShardedOrRecomputed() {
        double whole = 16.0 * MODEL.numParameters();
        List<Found> best =
                LayoutSearch.best(query(4, 8), new Bounds((long) whole, 0, true, Layout.dataParallel(1)), A100, 2);
        best.forEach(f -> assertTrue(f.memoryBytes() <= whole, best.toString()));
        Layout first = best.get(0).layout();
        assertTrue(first.zeroStage() > 0 || first.mesh().dp() < 4, best.toString());
    }

    @Test
    void boundsAreKept() {
        Layout least = Layout.of(new Mesh(1, 1, 1, 1, 2)).withZeroStage(1).withRecompute(Layout.Recompute.SELECTIVE);
        Bounds bounds = new Bounds(A100.memoryBytes(), 4, false, least);
        for (Found found : LayoutSearch.best(query(4, 32), bounds, A100, 4)) {
            assertFalse(found.layout().sequenceParallel(), found.toString());
            assertEquals(4, found.scenario().numMicroBatches());
            assertTrue(found.layout().mesh().tp() >= 2, found.toString());
            assertTrue(found.layout().zeroStage() >= 1, found.toString());
            assertTrue(found.layout().recompute() != Layout.Recompute.NONE, found.toString());
        }
    }

    @Test
    void nothingFitsOrDivides() {
        Hardware tiny = withMemory(1 << 20);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> best(query(2, 2), tiny, 1));
        assertTrue(e.getMessage().contains("no layout of 2 ranks fits"), e.getMessage());
        e = assertThrows(IllegalArgumentException.class, () -> best(query(7, 3), A100, 1));
        assertTrue(e.getMessage().contains("no layout of 7 ranks divides"), e.getMessage());
    }
}
