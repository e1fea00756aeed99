package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;

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
import io.brazier.tests.cuda.TestGpu;
import io.brazier.tests.parity.Ranks.Run;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Whole trainings on CUDA, each rank a thread with a device of its own, against the CPU back end on one rank. */
@Tag("cuda")
@Tag(TestGpu.TAG)
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
        TestGpu.load();
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
        assumeDevices(c);
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
        assumeDevices(c);
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

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void launchesOneByOneGiveTheBitsOfGraphs(int numRanks) {
        LayoutCase c = new LayoutCase(GPT, mesh(numRanks, 1, 1, 1), 2);
        assumeDevices(c);
        Run graphs = train(c, Mode.GRAPH);
        c.assertEqualBits(graphs, train(c, Mode.EAGER));
        c.assertEqualBits(graphs, train(c, Mode.CHECKED));
    }

    private static Run train(LayoutCase c, Mode mode) {
        return c.ranks().train(c.layout(), c.numMicroBatches(), (spec, communicator, initial) -> {
            CudaDevice device = TestGpu.device(communicator.rank());
            return CudaEngines.training(spec, communicator, device, mode, initial, Fill.NAN);
        });
    }

    private static void assumeDevices(LayoutCase c) {
        TestGpu.assumeDevices(c.layout().mesh().worldSize());
    }

    private static void assertNothingIsLeft(LayoutCase c) {
        TestGpu.assertNoViolations(c.toString());
        TestGpu.assertNothingIsLeft(c.layout().mesh().worldSize());
    }
}
