package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Precision;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.AwaitTransfer;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.RankPlan.StartTransfer;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer.Direction;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Collective.Shift;
import io.brazier.program.Collective.Start;
import io.brazier.program.Collective.Wait;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** Plans compute while they communicate: between the start of an exchange and the wait for it lies work of the rank's own. */
class OverlapTest {
    private static final int LAYERS = 4;
    private static final int MICRO_BATCHES = 4;

    private static RankPlan plan(Mesh mesh, int zeroStage, int rank) {
        return plan(mesh, zeroStage, Recompute.NONE, Schedule.ONE_F_ONE_B, rank);
    }

    private static RankPlan plan(Mesh mesh, int zeroStage, Recompute recompute, Schedule schedule, int rank) {
        Ranks ranks = new Ranks(GptConfig.of(19, 16, LAYERS, 2, 8), 8, 16, 0, 1);
        Layout layout = new Layout(mesh, false, zeroStage, recompute, Precision.FP32, schedule, 1);
        LayoutCase c = new LayoutCase(ranks, layout, MICRO_BATCHES);
        assertEquals(List.of(), c.violations());
        return TrainingPlan.make(c.request(rank), i -> 0).plan();
    }

    /** Whether each exchange of a type, in order, has work beside it; one that was not started apart has none. */
    private static List<Boolean> overlapped(RankPlan plan, String segment, Class<? extends Collective> type) {
        Program program = plan.segments().get(segment).program();
        List<Boolean> result = new ArrayList<>();
        for (int x = 0; x < program.instructions().size(); x++) {
            Instruction i = program.instructions().get(x);
            if (i.op() instanceof Start start && type.isInstance(start.collective())) {
                result.add(program.instructions().subList(x, end(program, i)).stream()
                        .anyMatch(between -> flops(between) > 0));
            } else if (type.isInstance(i.op())) {
                result.add(false);
            }
        }
        return result;
    }

    private static int end(Program program, Instruction start) {
        for (int x = 0; x < program.instructions().size(); x++) {
            Instruction i = program.instructions().get(x);
            if (i.op() instanceof Wait && i.inputs().containsAll(start.outputs())) {
                return x;
            }
        }
        throw new AssertionError("nobody waits for " + start);
    }

    private static double flops(Instruction i) {
        return i.op().flops(i.inputs().stream().map(v -> v.type()).toList());
    }

    private static void assertAllBut(String what, List<Boolean> overlapped, int idle) {
        assertTrue(overlapped.size() > idle, what + " has only " + overlapped.size() + " exchanges");
        assertTrue(Collections.frequency(overlapped, false) <= idle, what + ": " + overlapped);
    }

    /**
     * Nothing runs before the first unit is there. The embedding and the positions are complete when backward ends, and the tied
     * head adds to the sum that the embedding goes on with.
     */
    @ParameterizedTest
    @EnumSource(Recompute.class)
    void weightsAreGatheredAndGradientsScatteredBesideTheBlocks(Recompute recompute) {
        RankPlan plan = plan(new Mesh(2, 1, 1, 1, 1), 3, recompute, Schedule.ONE_F_ONE_B, 0);
        for (String segment : List.of("forward", "backward", "backward.accumulate", "evaluate")) {
            assertAllBut(segment, overlapped(plan, segment, GatherWeights.class), 1);
        }
        for (String segment : List.of("backward", "backward.accumulate")) {
            assertAllBut(segment, overlapped(plan, segment, ScatterGradients.class), 3);
        }
    }

    /** The gradients of the embedding are complete when backward ends. */
    @Test
    void bucketsOfGradientsAreReducedBesideBackward() {
        RankPlan replicated = plan(new Mesh(2, 1, 1, 1, 1), 0, 0);
        assertAllBut("dp 2", overlapped(replicated, "backward.accumulate.reduce", AllReduce.class), 1);
        RankPlan sharded = plan(new Mesh(2, 1, 1, 1, 1), 2, 0);
        assertAllBut("ZeRO 2", overlapped(sharded, "backward.accumulate.reduce", ScatterGradients.class), 1);
    }

    @Test
    void blocksOfKeysTravelBesideAttention() {
        RankPlan plan = plan(new Mesh(1, 1, 4, 1, 1), 0, 1);
        List<Boolean> forward = overlapped(plan, "forward", Shift.class);
        assertEquals(LAYERS * 3, forward.size());
        assertAllBut("forward", forward, 0);
        List<Boolean> backward = overlapped(plan, "backward", Shift.class);
        assertEquals(LAYERS * 6, backward.size());
        assertAllBut("backward", backward, 0);
    }

    /** A stage idles for what its first micro-batch brings. */
    @ParameterizedTest
    @EnumSource(Schedule.class)
    void transfersArriveBesideOtherMicroBatches(Schedule schedule) {
        for (int rank = 0; rank < 2; rank++) {
            List<Step> steps = plan(new Mesh(1, 2, 1, 1, 1), 0, Recompute.NONE, schedule, rank)
                    .schedule();
            List<Boolean> overlapped = new ArrayList<>();
            for (int x = 0; x < steps.size(); x++) {
                if (steps.get(x) instanceof StartTransfer start
                        && start.transfer().direction() == Direction.RECEIVE) {
                    int end = steps.indexOf(new AwaitTransfer(start.transfer()));
                    overlapped.add(steps.subList(x, end).stream().anyMatch(Launch.class::isInstance));
                }
            }
            assertAllBut(schedule + " on rank " + rank, overlapped, 1);
        }
    }
}
