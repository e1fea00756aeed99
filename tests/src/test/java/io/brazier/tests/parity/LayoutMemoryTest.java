package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Region;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Elementwise.Function;
import io.brazier.tensor.Mesh;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** Memory of layouts against the formulas of their papers. */
class LayoutMemoryTest {
    /** Every size is a multiple of what ranks and alignment ask for, so that formulas hold to the byte. */
    private static final GptConfig MODEL =
            new GptConfig(64, 16, 6, 4, 128, 512, 1e-5, Function.GELU_TANH, Set.of(Variant.UNTIED_HEAD));

    private static final Ranks RANKS = new Ranks(MODEL, 32, 16, 0, 1);

    private static Map<Region, Long> regions(Layout layout, int numMicroBatches, int rank) {
        LayoutCase c = new LayoutCase(RANKS, layout, numMicroBatches);
        assertEquals(List.of(), c.violations());
        return TrainingPlan.make(c.request(rank), i -> 0).plan().regions();
    }

    /** Weights, gradients and moments of f32 take 16 bytes a parameter, of which each stage divides more by dp (arXiv:1910.02054). */
    @ParameterizedTest
    @CsvSource({"0,1,1,1", "1,1,1,4", "2,1,4,4", "3,4,4,4"})
    void zeroDividesState(int stage, int weights, int gradients, int moments) {
        long bytes = 4 * MODEL.numParameters();
        for (int rank = 0; rank < 4; rank++) {
            Map<Region, Long> regions = regions(Layout.dataParallel(4).withZeroStage(stage), 1, rank);
            assertEquals(bytes / weights, regions.get(Region.WEIGHTS));
            assertEquals(bytes / gradients, regions.get(Region.GRADIENTS));
            assertEquals(bytes / moments, regions.get(Region.FIRST_MOMENTS));
            assertEquals(bytes / moments, regions.get(Region.SECOND_MOMENTS));
        }
    }

    /** 1F1B keeps p - s micro-batches on stage s, GPipe all m, whatever their number; each stage here has two blocks of equal size. */
    @ParameterizedTest
    @EnumSource(
            value = Schedule.class,
            names = {"GPIPE", "ONE_F_ONE_B"})
    void stashHoldsTheMicroBatchesInFlight(Schedule schedule) {
        int numStages = 4;
        for (int numMicroBatches : new int[] {2, 4, 8}) {
            for (int stage = 0; stage < numStages; stage++) {
                Layout one = Layout.of(new Mesh(1, numStages, 1, 1, 1)).withSchedule(schedule, 1);
                long slots = schedule == Schedule.GPIPE ? numMicroBatches : numStages - stage;
                // As many rows in a micro-batch, but a single one of those.
                Ranks rows = new Ranks(MODEL, RANKS.batchSize() / numMicroBatches, 16, 0, 1);
                long slot = TrainingPlan.make(new LayoutCase(rows, one, 1).request(stage), i -> 0)
                        .plan()
                        .regions()
                        .get(Region.STASH);
                assertEquals(
                        Math.min(slots, numMicroBatches) * slot,
                        regions(one, numMicroBatches, stage).get(Region.STASH),
                        schedule + " of " + numMicroBatches + " on stage " + stage);
            }
        }
    }

    /** Tensor parallelism divides matrices and vocabulary; norms, positions and biases behind row-parallel products stay whole. */
    @Test
    void tensorParallelismDividesMatrices() {
        long d = MODEL.width();
        long f = MODEL.hiddenWidth();
        long whole = 2 * d + MODEL.maxPositions() * d + MODEL.numLayers() * 6 * d;
        long cut = 2 * MODEL.vocabularySize() * d + MODEL.numLayers() * (4 * d * d + 3 * d + 2 * d * f + f);
        assertEquals(MODEL.numParameters(), whole + cut);
        assertEquals(
                4 * (whole + cut / 4),
                regions(Layout.of(new Mesh(1, 1, 1, 1, 4)), 1, 2).get(Region.WEIGHTS));
    }

    @Test
    void sequenceParallelismAndRecomputationShrinkTheStash() {
        Layout tensor = Layout.of(new Mesh(1, 1, 1, 1, 4));
        long plain = regions(tensor, 1, 0).get(Region.STASH);
        long sequence = regions(tensor.withSequenceParallel(), 1, 0).get(Region.STASH);
        long selective =
                regions(tensor.withRecompute(Layout.Recompute.SELECTIVE), 1, 0).get(Region.STASH);
        long full = regions(tensor.withRecompute(Layout.Recompute.FULL), 1, 0).get(Region.STASH);
        assertTrue(sequence < plain, sequence + " of " + plain);
        assertTrue(full < selective && selective < plain, full + " of " + selective + " of " + plain);
    }
}
