package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.pipeline.Timeline;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.tensor.Mesh;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** What plans keep for backward, against formulas per block and token. */
class ActivationMemoryTest {
    private static final int ROWS = 2;
    private static final int TOKENS = 256;
    private static final int WIDTH = 512;
    private static final int HEADS = 8;

    private static List<RankPlan> stages(int numLayers, Layout layout, int numMicroBatches) {
        GptConfig model = GptConfig.of(1000, TOKENS, numLayers, HEADS, WIDTH);
        return new Scenario(model, layout, ROWS, numMicroBatches, TOKENS).stages();
    }

    private static long stash(RankPlan plan) {
        return plan.regions().get(Region.STASH);
    }

    private static double bytesOfABlock(Layout layout) {
        return stash(stages(5, layout, 1).get(0)) - stash(stages(4, layout, 1).get(0));
    }

    /**
     * arXiv:2205.05198, eq. 1 has 34 s b h + 5 a s^2 b bytes in 16 bits. Without dropout there are no masks (2 s b h), and fused
     * attention keeps a denominator for each row and head in place of scores. That leaves 16 values of width h for each token: input
     * and output of both norms (4), queries, keys and values (3), attention's output (1), and the MLP before and after its activation
     * (8). Each norm keeps mean and deviation beside.
     */
    @Test
    void aBlockKeepsSixteenWidthsOfEachToken() {
        double bytes = 4.0 * ROWS * TOKENS * (16 * WIDTH + HEADS + 4);
        assertEquals(bytes, bytesOfABlock(Layout.dataParallel(1)), 0.01 * bytes);
    }

    /** Attention made again needs the projection alone: one width less, and no denominators. */
    @Test
    void selectiveRecomputationKeepsNoOutputOfAttention() {
        double bytes = 4.0 * ROWS * TOKENS * (15 * WIDTH + 4);
        assertEquals(bytes, bytesOfABlock(Layout.dataParallel(1).withRecompute(Recompute.SELECTIVE)), 0.01 * bytes);
    }

    /** 2 s b h in 16 bits (arXiv:2205.05198, sec. 5): the input of each block. */
    @Test
    void fullRecomputationKeepsTheInputOfEachBlock() {
        double bytes = 4.0 * ROWS * TOKENS * WIDTH;
        assertEquals(bytes, bytesOfABlock(Layout.dataParallel(1).withRecompute(Recompute.FULL)), 0.01 * bytes);
    }

    /** A stage of 1F1B holds the stash of no more micro-batches than stages follow it, itself counted (arXiv:2104.04473). */
    @ParameterizedTest
    @CsvSource({"4, 8", "4, 2", "2, 4"})
    void stagesOf1f1bStashWhatIsInFlight(int numStages, int numMicroBatches) {
        Layout layout = Layout.of(new Mesh(1, numStages, 1, 1, 1));
        List<RankPlan> one = stages(6, layout, 1);
        List<RankPlan> all = stages(6, layout, numMicroBatches);
        for (int stage = 0; stage < numStages; stage++) {
            long inFlight = Math.min(numStages - stage, numMicroBatches);
            assertTrue(stash(all.get(stage)) <= inFlight * stash(one.get(stage)), "stage " + stage);
        }
    }

    /** The clock and the timeline of actions see one bubble, where messages cost nothing and stages take equally long. */
    @ParameterizedTest
    @EnumSource(Schedule.class)
    void theClockAgreesWithTheTimeline(Schedule schedule) {
        int numStages = 4;
        int numMicroBatches = 8;
        int chunks = schedule == Schedule.INTERLEAVED ? 2 : 1;
        double timeline = Timeline.of(
                        schedule.allActions(numStages, numMicroBatches, chunks), new Timeline.Uniform(1, 2, 1, 1, 0))
                .seconds();
        double clock = Clock.run(
                        ClockTest.stages(schedule, numStages, numMicroBatches, chunks),
                        (stage, stream, name, start, end) -> {})
                .stepSeconds();
        assertEquals(timeline, clock * chunks, 1e-9);
    }
}
