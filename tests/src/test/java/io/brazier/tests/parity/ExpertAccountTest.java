package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.plan.Layout.Recompute;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import io.brazier.tests.parity.Ranks.Run;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The balance loss is one of the global micro-batch, and what experts drop is counted once, whoever holds them. */
class ExpertAccountTest {
    private static final int NUM_TOKENS = 8 * 16;

    private static Ranks ranks(Experts experts) {
        LlamaConfig model =
                new LlamaConfig(47, 16, 2, 4, 2, 6, 20, 14, 1e-5, 10000, RotaryScaling.NONE, false, experts);
        return new Ranks(model, 8, 16, 0, 4);
    }

    private static Layout layout(int dp, int pp, int cp, int ep, int tp, boolean sp, int zero, Recompute recompute) {
        return new Layout(new Mesh(dp, pp, cp, ep, tp), sp, zero, recompute, Precision.FP32, Schedule.ONE_F_ONE_B, 1);
    }

    @ParameterizedTest
    @CsvSource({
        "2,1,1,1,1,false,0,NONE,1",
        "1,1,1,2,1,false,2,FULL,2",
        "1,2,1,2,1,false,0,NONE,2",
        "1,1,1,2,2,true,1,SELECTIVE,1",
        "1,1,1,1,2,false,0,FULL,2",
        "1,2,2,2,1,false,3,NONE,2",
        "2,1,1,2,2,true,3,FULL,1",
    })
    void balanceLossMatchesOneRank(
            int dp, int pp, int cp, int ep, int tp, boolean sp, int zero, Recompute recompute, int microBatches) {
        Ranks ranks = ranks(new Experts(4, 2, 0, 0.5));
        Run one = ranks.train(Layout.dataParallel(1), microBatches, 1);
        Run other = ranks.train(layout(dp, pp, cp, ep, tp, sp, zero, recompute), microBatches, 1);
        for (int x = 0; x < one.steps().size(); x++) {
            StepOutcome expected = one.steps().get(x);
            StepOutcome actual = other.steps().get(x);
            // Two blocks, each at least the coefficient: tokens spread evenly give it.
            assertTrue(expected.balanceLoss() > 0.9, expected.toString());
            assertEquals(expected.balanceLoss(), actual.balanceLoss(), 1e-5);
            assertEquals(expected.loss(), actual.loss(), 1e-5 * expected.loss());
            assertEquals(expected.gradientNorm(), actual.gradientNorm(), 1e-4 * expected.gradientNorm());
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "1,1,2", "2,1,1", "1,2,1", "2,2,1", "1,2,2"})
    void whatExpertsDropIsCounted(int pp, int ep, int tp) {
        Ranks ranks = ranks(new Experts(4, 2, 0.5, 0));
        Run run = ranks.train(layout(1, pp, 1, ep, tp, false, 0, Recompute.NONE), 1, 1);
        long chosen = 2 * 2 * NUM_TOKENS;
        long dropped = run.steps().get(0).droppedTokens();
        // Slots for half of what is chosen: at least the other half is dropped in both blocks.
        assertTrue(dropped >= chosen / 2 && dropped < chosen, dropped + " of " + chosen);
        if (ep == 1) {
            Run one = ranks.train(Layout.dataParallel(1), 1, 1);
            assertEquals(one.steps().get(0).droppedTokens(), dropped);
        }
        assertEquals(
                0,
                ranks(new Experts(4, 2, 0, 0))
                        .train(Layout.dataParallel(1), 1, 1)
                        .steps()
                        .get(0)
                        .droppedTokens());
    }
}
