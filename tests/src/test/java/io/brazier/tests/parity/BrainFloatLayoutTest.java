package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Request;
import io.brazier.plan.Segment;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Collective.Start;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Instruction;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.DType;
import io.brazier.tensor.Mesh;
import io.brazier.tests.parity.Ranks.Run;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Training in bf16: near f32, under any layout near one rank, and the same bits where no sum is cut up otherwise. */
class BrainFloatLayoutTest {
    private static final int NUM_STEPS = 4;

    /** A bf16 is within 2^-9 of what it rounds; errors of many values cancel in the mean loss. */
    private static final double F32_TOLERANCE = 3e-3;

    /** Gradients sum up in f32 in another order, and a weight near the middle of two bf16 may then round to the other. */
    private static final double LOSS_TOLERANCE = 1e-4;

    private static final double NORM_TOLERANCE = 5e-3;

    /** Under tp the parts of row-parallel products round to bf16 before they are summed. */
    private static final double LOSS_TOLERANCE_OF_ROUNDED_SUMS = 2e-3;

    private static final double NORM_TOLERANCE_OF_ROUNDED_SUMS = 5e-2;

    private static final Ranks GPT = new Ranks(
            new GptConfig(61, 20, 3, 4, 24, 96, 1e-5, Function.GELU_TANH, Set.of(Variant.UNTIED_HEAD)),
            8,
            16,
            0.2,
            NUM_STEPS);
    private static final Ranks LLAMA = new Ranks(
            new LlamaConfig(61, 20, 3, 4, 2, 6, 20, 28, 1e-5, 500, RotaryScaling.NONE, true, Experts.NONE),
            8,
            16,
            0,
            NUM_STEPS);

    private static final Ranks EXPERTS = new Ranks(
            new LlamaConfig(
                    47, 16, 2, 4, 2, 6, 20, 14, 1e-5, 10000, RotaryScaling.NONE, false, new Experts(4, 2, 0, 0)),
            8,
            16,
            0.1,
            NUM_STEPS);

    private static Layout layout(int dp, int pp, int cp, int tp, boolean sp, int zero, Recompute recompute) {
        Schedule schedule = Schedule.ONE_F_ONE_B;
        return new Layout(new Mesh(dp, pp, cp, 1, tp), sp, zero, recompute, Precision.BF16, schedule, 1);
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1,false,0,NONE,1",
        "2,1,1,1,false,0,NONE,2",
        "2,1,1,1,false,1,NONE,2",
        "2,1,1,1,false,2,FULL,2",
        "2,1,1,1,false,3,NONE,2",
        "1,1,1,2,false,0,NONE,1",
        "1,1,1,2,true,0,SELECTIVE,2",
        "1,1,2,1,false,0,NONE,2",
        "2,2,1,2,true,1,FULL,2",
        "2,1,2,2,true,3,SELECTIVE,2",
    })
    void staysNearOneRankAndNearFloats(
            int dp, int pp, int cp, int tp, boolean sp, int zero, Recompute recompute, int numMicroBatches) {
        Layout layout = layout(dp, pp, cp, tp, sp, zero, recompute);
        assertNear(new LayoutCase(GPT, layout, numMicroBatches));
        assertNear(new LayoutCase(LLAMA, layout, numMicroBatches));
    }

    @ParameterizedTest
    @CsvSource({"1,1,1,1,0,NONE", "1,2,2,1,1,FULL", "2,1,2,1,3,NONE", "1,1,2,2,2,SELECTIVE"})
    void expertsStayNear(int dp, int pp, int ep, int tp, int zero, Recompute recompute) {
        Mesh mesh = new Mesh(dp, pp, 1, ep, tp);
        Schedule schedule = Schedule.ONE_F_ONE_B;
        assertNear(new LayoutCase(EXPERTS, new Layout(mesh, false, zero, recompute, Precision.BF16, schedule, 1), 2));
    }

    static Stream<LayoutCase> randomLayouts() {
        return RandomLayouts.first(12, 8, 3).map(LayoutCase::inBrainFloats);
    }

    @ParameterizedTest
    @MethodSource("randomLayouts")
    void anyLayoutStaysNear(LayoutCase c) {
        assertNear(c);
    }

    private static void assertNear(LayoutCase c) {
        Run wide = c.onOneRank().train();
        Run one = c.onOneRank().inBrainFloats().train();
        Run other = c.train();
        boolean roundsSums = c.layout().mesh().tp() > 1;
        double loss = roundsSums ? LOSS_TOLERANCE_OF_ROUNDED_SUMS : LOSS_TOLERANCE;
        double norm = roundsSums ? NORM_TOLERANCE_OF_ROUNDED_SUMS : NORM_TOLERANCE;
        for (int x = 0; x < one.steps().size(); x++) {
            close(one.steps().get(x).loss(), other.steps().get(x).loss(), loss);
            close(one.steps().get(x).gradientNorm(), other.steps().get(x).gradientNorm(), norm);
            close(wide.steps().get(x).loss(), other.steps().get(x).loss(), F32_TOLERANCE);
        }
        close(one.evaluation(), other.evaluation(), loss);
    }

    @ParameterizedTest
    @CsvSource({
        "1,FULL,ONE_F_ONE_B,1",
        "1,SELECTIVE,ONE_F_ONE_B,1",
        "2,NONE,GPIPE,1",
        "2,FULL,INTERLEAVED,2",
        "3,NONE,ZB_H1,1"
    })
    void pipelinesAndRecomputationChangeNoBit(int pp, Recompute recompute, Schedule schedule, int chunks) {
        Layout layout = layout(1, pp, 1, 1, false, 0, recompute).withSchedule(schedule, chunks);
        Run one = GPT.train(Layout.dataParallel(1).withPrecision(Precision.BF16), 4, 1);
        Run other = GPT.train(layout, 4, 1);
        assertEquals(one.evaluation(), other.evaluation());
        one.state()
                .forEach((name, expected) ->
                        assertArrayEquals(expected, other.state().get(name), name));
    }

    @Test
    void weightsHalveAndActivationsNearlyDo() {
        for (Ranks ranks : new Ranks[] {GPT, LLAMA}) {
            RankPlan wide = plan(ranks, Layout.dataParallel(1));
            RankPlan narrow = plan(ranks, Layout.dataParallel(1).withPrecision(Precision.BF16));
            assertEquals(
                    wide.regions().get(Region.WEIGHTS), 2 * narrow.regions().get(Region.WEIGHTS));
            assertEquals(wide.regions().get(Region.WEIGHTS), narrow.regions().get(Region.MASTERS));
            assertEquals(wide.regions().get(Region.GRADIENTS), narrow.regions().get(Region.GRADIENTS));
            long stash = narrow.regions().get(Region.STASH);
            assertTrue(stash <= 0.6 * wide.regions().get(Region.STASH), stash + " of " + wide.regions());
        }
    }

    /** Hidden states, their gradients and gathered weights travel in bf16; gradients of weights are summed in f32. */
    @Test
    void ranksExchangeHalfTheBytesButForGradients() {
        Layout layout = layout(2, 2, 1, 1, false, 3, Recompute.NONE);
        RankPlan narrow = plan(GPT, layout);
        RankPlan wide = plan(GPT, layout.withPrecision(Precision.FP32));
        assertEquals(transferred(wide), 2 * transferred(narrow));
        for (Segment segment : narrow.segments().values()) {
            for (Instruction i : segment.program().instructions()) {
                if (i.op() instanceof Start start && start.collective() instanceof GatherWeights) {
                    assertEquals(DType.BF16, i.inputs().get(0).type().dtype(), i.toString());
                } else if (i.op() instanceof Start start && start.collective() instanceof ScatterGradients) {
                    assertEquals(DType.F32, i.inputs().get(0).type().dtype(), i.toString());
                }
            }
        }
    }

    private static long transferred(RankPlan plan) {
        return plan.schedule().stream()
                .filter(step -> step instanceof RankPlan.StartTransfer)
                .mapToLong(step ->
                        ((RankPlan.StartTransfer) step).transfer().slice().bytes())
                .sum();
    }

    private static RankPlan plan(Ranks ranks, Layout layout) {
        return TrainingPlan.make(
                        new Request(ranks.model().model(), layout, 0, 2, 4, ranks.sequenceLength(), 0, 0.1), i -> 0)
                .plan();
    }

    private static void close(double expected, double actual, double tolerance) {
        assertEquals(expected, actual, tolerance * Math.abs(expected));
    }
}
