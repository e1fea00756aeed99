package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.program.RotaryScaling;
import io.brazier.program.RotaryScaling.Llama3;
import io.brazier.tensor.Mesh;
import io.brazier.tests.parity.Ranks.Run;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Llama learns under other layouts what it learns on one rank: grouped queries, H K other than D, ids that tp does not divide. */
class LlamaLayoutTest {
    /** Sums are cut up differently, so f32 rounds differently; a step amplifies it by AdamW's division. */
    private static final double LOSS_TOLERANCE = 1e-5;

    private static final double WEIGHT_TOLERANCE = 2e-4;

    private static final Ranks UNTIED = new Ranks(
            new LlamaConfig(61, 20, 3, 6, 2, 6, 20, 28, 1e-5, 500, new Llama3(4, 1, 4, 8), false, Experts.NONE),
            8,
            16,
            0,
            4);
    private static final Ranks TIED = new Ranks(
            new LlamaConfig(33, 16, 2, 4, 4, 4, 12, 22, 1e-6, 10000, RotaryScaling.NONE, true, Experts.NONE),
            8,
            16,
            0.2,
            4);

    private static final Ranks EXPERTS = experts(0.5);

    private static Ranks experts(double balanceCoefficient) {
        Experts experts = new Experts(4, 2, 0, balanceCoefficient);
        LlamaConfig config =
                new LlamaConfig(47, 16, 2, 4, 2, 6, 20, 14, 1e-5, 10000, RotaryScaling.NONE, false, experts);
        return new Ranks(config, 8, 16, 0.1, 4);
    }

    @Test
    void theBalanceOfExpertsIsLearnt() {
        Run with = EXPERTS.train(Layout.dataParallel(1), 1, 1);
        Run without = experts(0).train(Layout.dataParallel(1), 1, 1);
        // The loss that is reported is the text's alone, the same before the first update; its gradient is not.
        assertEquals(without.steps().get(0).loss(), with.steps().get(0).loss());
        assertTrue(without.steps().get(0).gradientNorm() < with.steps().get(0).gradientNorm());
    }

    @ParameterizedTest
    @CsvSource({
        "2,1,1,2,1,false,0,NONE,1",
        "1,2,1,2,1,false,0,FULL,2",
        "1,1,1,2,2,true,0,SELECTIVE,2",
        "2,1,1,2,2,true,3,FULL,1",
        "2,1,2,2,1,false,1,NONE,2",
    })
    void expertsMatchOneRank(
            int dp, int pp, int cp, int ep, int tp, boolean sp, int zero, Recompute recompute, int microBatches) {
        Layout layout = new Layout(
                new Mesh(dp, pp, cp, ep, tp), sp, zero, recompute, Layout.Precision.FP32, Schedule.ONE_F_ONE_B, 1);
        matchesOneRank(EXPERTS, layout, microBatches);
    }

    @ParameterizedTest
    @CsvSource({
        "2,1,1,1,false,0,NONE,2",
        "1,1,1,2,false,0,NONE,1",
        "1,1,1,2,true,0,SELECTIVE,2",
        "1,2,1,1,false,0,FULL,4",
        "1,1,2,1,false,0,NONE,2",
        "2,2,1,2,true,1,FULL,2",
        "2,1,2,2,false,3,SELECTIVE,2",
    })
    void matchesOneRank(int dp, int pp, int cp, int tp, boolean sp, int zero, Recompute recompute, int microBatches) {
        Layout layout = new Layout(
                new Mesh(dp, pp, cp, 1, tp), sp, zero, recompute, Layout.Precision.FP32, Schedule.ONE_F_ONE_B, 1);
        matchesOneRank(UNTIED, layout, microBatches);
        matchesOneRank(TIED, layout, microBatches);
    }

    private static void matchesOneRank(Ranks ranks, Layout layout, int microBatches) {
        Run one = ranks.train(Layout.dataParallel(1), microBatches, 1);
        Run other = ranks.train(layout, microBatches, 1);
        for (int x = 0; x < one.steps().size(); x++) {
            close(one.steps().get(x).loss(), other.steps().get(x).loss(), LOSS_TOLERANCE);
            close(one.steps().get(x).gradientNorm(), other.steps().get(x).gradientNorm(), 1e-4);
        }
        close(one.evaluation(), other.evaluation(), LOSS_TOLERANCE);
        one.state().forEach((name, expected) -> {
            float[] actual = other.state().get(name);
            for (int i = 0; name.endsWith("WEIGHT") && i < expected.length; i++) {
                double error = Math.abs(expected[i] - actual[i]);
                assertTrue(error <= WEIGHT_TOLERANCE, name + "[" + i + "] is " + actual[i] + ", not " + expected[i]);
            }
        });
    }

    private static void close(double expected, double actual, double tolerance) {
        assertEquals(expected, actual, tolerance * Math.abs(expected));
    }
}
