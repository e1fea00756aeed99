package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import io.brazier.tests.cuda.Cudasim;
import io.brazier.tests.parity.Ranks.Run;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole trainings on simulated CUDA, each rank a thread with a device of its own, against the CPU back end on one rank. */
@Tag("cuda")
class CudaLatticeTest {
    /** What {@link BrainFloatLayoutTest} allows where sums round otherwise; products here sum up in yet another order. */
    private static final double BRAIN_FLOAT_LOSS = 2e-3;

    private static final double BRAIN_FLOAT_NORM = 5e-2;

    private static final Ranks GPT = gpt(3);

    private static final Ranks TIED =
            new Ranks(new GptConfig(29, 17, 2, 4, 4 * 5, 4 * 11, 1e-5, Function.GELU_TANH, Set.of()), 8, 16, 0, 3);

    private static final Ranks LLAMA = llama(Experts.NONE, 3);

    private static final Ranks EXPERTS = llama(new Experts(4, 2, 0, 0.01), 3);

    private static Ranks gpt(int numSteps) {
        GptConfig model = new GptConfig(33, 17, 2, 4, 64, 96, 1e-5, Function.GELU_TANH, Set.of(Variant.UNTIED_HEAD));
        return new Ranks(model, 8, 16, 0.2, numSteps);
    }

    private static Ranks llama(Experts experts, int numSteps) {
        LlamaConfig model = new LlamaConfig(29, 16, 2, 4, 2, 16, 64, 96, 1e-5, 500, RotaryScaling.NONE, false, experts);
        return new Ranks(model, 8, 16, 0, numSteps);
    }

    @BeforeAll
    static void load() {
        Cudasim.load();
        Cudasim.takeViolations();
    }

    private static Layout mesh(int dp, int pp, int cp, int tp) {
        return Layout.of(new Mesh(dp, pp, cp, 1, tp));
    }

    static Stream<LayoutCase> cases() {
        return Stream.of(
                new LayoutCase(gpt(10), mesh(1, 1, 1, 1), 2),
                new LayoutCase(llama(Experts.NONE, 10), mesh(1, 1, 1, 1), 1),
                new LayoutCase(llama(new Experts(4, 2, 0, 0.01), 10), mesh(1, 1, 1, 1), 1),
                new LayoutCase(GPT, mesh(2, 1, 1, 1), 2),
                new LayoutCase(TIED, mesh(1, 2, 1, 1), 4),
                new LayoutCase(LLAMA, mesh(1, 1, 1, 2), 1),
                new LayoutCase(LLAMA, mesh(1, 1, 2, 1), 1),
                new LayoutCase(GPT, mesh(2, 1, 1, 1).withZeroStage(1), 1),
                new LayoutCase(LLAMA, mesh(2, 1, 1, 1).withZeroStage(3), 2),
                new LayoutCase(GPT, mesh(1, 2, 1, 1).withSchedule(Schedule.ZB_H1, 1), 4),
                new LayoutCase(LLAMA, mesh(1, 2, 1, 1).withSchedule(Schedule.INTERLEAVED, 2), 4),
                new LayoutCase(TIED, mesh(2, 2, 1, 2).withZeroStage(2), 2),
                new LayoutCase(EXPERTS, Layout.of(new Mesh(1, 1, 1, 2, 1)), 1),
                new LayoutCase(EXPERTS, Layout.of(new Mesh(1, 1, 1, 2, 2)), 1),
                new LayoutCase(GPT, mesh(1, 1, 1, 1).withRecompute(Recompute.FULL), 1),
                new LayoutCase(LLAMA, mesh(1, 1, 1, 1).withRecompute(Recompute.SELECTIVE), 1));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void equalsTheCpu(LayoutCase c) {
        c.assertClose(c.onOneRank().train(), train(c, Mode.GRAPH));
        assertNothingIsLeft(c);
    }

    static Stream<LayoutCase> brainFloats() {
        return Stream.of(
                        new LayoutCase(GPT, mesh(1, 1, 1, 1), 2),
                        new LayoutCase(LLAMA, mesh(1, 1, 1, 1), 1),
                        new LayoutCase(EXPERTS, mesh(1, 1, 1, 1), 1),
                        new LayoutCase(LLAMA, mesh(1, 1, 1, 2), 1),
                        new LayoutCase(GPT, mesh(1, 2, 1, 1), 2),
                        new LayoutCase(LLAMA, mesh(2, 1, 1, 1).withZeroStage(3), 1))
                .map(LayoutCase::inBrainFloats);
    }

    @ParameterizedTest
    @MethodSource("brainFloats")
    void equalsTheCpuInBrainFloats(LayoutCase c) {
        Run expected = c.onOneRank().inBrainFloats().train();
        Run actual = train(c, Mode.GRAPH);
        for (int x = 0; x < expected.steps().size(); x++) {
            StepOutcome e = expected.steps().get(x);
            StepOutcome a = actual.steps().get(x);
            assertEquals(e.loss(), a.loss(), BRAIN_FLOAT_LOSS * e.loss(), "loss of step " + x + " of " + c);
            assertEquals(
                    e.gradientNorm(),
                    a.gradientNorm(),
                    BRAIN_FLOAT_NORM * e.gradientNorm(),
                    "norm of step " + x + " of " + c);
        }
        assertNothingIsLeft(c);
    }

    @Test
    void launchesOneByOneGiveTheBitsOfGraphs() {
        LayoutCase c = new LayoutCase(GPT, mesh(2, 1, 1, 1), 2);
        Run graphs = train(c, Mode.GRAPH);
        c.assertEqualBits(graphs, train(c, Mode.EAGER));
        c.assertEqualBits(graphs, train(c, Mode.CHECKED));
    }

    /** Segments are graphs after the first step: a step is a launch for each, and the copies in and out. */
    @Test
    void aStepIsALaunchForEachSegment() {
        LayoutCase c = new LayoutCase(GPT, mesh(1, 1, 1, 1), 2);
        long launches = Cudasim.calls("cuGraphLaunch");
        long kernels = Cudasim.calls("cuLaunchKernel");
        train(c, Mode.GRAPH);
        long graphs = Cudasim.calls("cuGraphLaunch") - launches;
        assertTrue(graphs > 3 * GPT.numSteps(), graphs + " launches of graphs");
        assertTrue(graphs < 20L * GPT.numSteps(), graphs + " launches of graphs");
        long captured = Cudasim.calls("cuLaunchKernel") - kernels;
        train(new LayoutCase(gpt(6), mesh(1, 1, 1, 1), 2), Mode.GRAPH);
        assertEquals(2 * captured, Cudasim.calls("cuLaunchKernel") - kernels, "kernels are launched at capture alone");
    }

    private static Run train(LayoutCase c, Mode mode) {
        return c.ranks().train(c.layout(), c.numMicroBatches(), (spec, communicator, initial) -> {
            CudaDevice device = CudaDevice.open(communicator.rank());
            return CudaEngines.training(spec, communicator, device, mode, initial, Fill.NAN);
        });
    }

    private static void assertNothingIsLeft(LayoutCase c) {
        assertArrayEquals(new String[0], Cudasim.takeViolations());
        for (int device = 0; device < c.layout().mesh().worldSize(); device++) {
            assertEquals(0, Cudasim.liveAllocations(device), "left on device " + device);
        }
    }
}
