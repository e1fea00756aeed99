package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.collective.Communicator;
import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.cuda.CudaDevice;
import io.brazier.cuda.CudaEngines;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.nn.GptConfig.Variant;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.WeightSource;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import io.brazier.tests.cuda.Cudasim;
import java.util.Set;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Whole trainings on simulated CUDA, each rank a thread with a device of its own, against the CPU back end on one rank. */
class CudaLatticeTest {
    private static final Ranks GPT = new Ranks(
            new GptConfig(33, 17, 2, 4, 64, 96, 1e-5, Function.GELU_TANH, Set.of(Variant.UNTIED_HEAD)), 8, 16, 0.2, 3);

    private static final Ranks TIED =
            new Ranks(new GptConfig(29, 17, 2, 4, 4 * 5, 4 * 11, 1e-5, Function.GELU_TANH, Set.of()), 8, 16, 0, 3);

    private static final Ranks LLAMA = new Ranks(
            new LlamaConfig(29, 16, 2, 4, 2, 16, 64, 96, 1e-5, 500, RotaryScaling.NONE, false, Experts.NONE),
            8,
            16,
            0,
            3);

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
                new LayoutCase(GPT, mesh(1, 1, 1, 1), 2),
                new LayoutCase(LLAMA, mesh(1, 1, 1, 1), 1),
                new LayoutCase(GPT, mesh(2, 1, 1, 1), 2),
                new LayoutCase(TIED, mesh(1, 2, 1, 1), 4),
                new LayoutCase(LLAMA, mesh(1, 1, 1, 2), 1),
                new LayoutCase(LLAMA, mesh(1, 1, 2, 1), 1),
                new LayoutCase(GPT, mesh(2, 1, 1, 1).withZeroStage(1), 1),
                new LayoutCase(LLAMA, mesh(2, 1, 1, 1).withZeroStage(3), 2),
                new LayoutCase(GPT, mesh(1, 2, 1, 1).withSchedule(Schedule.ZB_H1, 1), 4),
                new LayoutCase(TIED, mesh(2, 2, 1, 2).withZeroStage(2), 2),
                new LayoutCase(GPT, mesh(1, 1, 1, 1).withRecompute(Recompute.FULL), 1));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void equalsTheCpu(LayoutCase c) {
        c.assertClose(c.onOneRank().train(), c.ranks().train(c.layout(), c.numMicroBatches(), CudaLatticeTest::open));
        assertArrayEquals(new String[0], Cudasim.takeViolations());
        for (int device = 0; device < c.layout().mesh().worldSize(); device++) {
            assertEquals(0, Cudasim.liveAllocations(device), "left on device " + device);
        }
    }

    private static TrainingEngine open(TrainingSpec spec, Communicator communicator, WeightSource initial) {
        CudaDevice device = CudaDevice.open(communicator.rank());
        return CudaEngines.training(spec, communicator, device, Mode.GRAPH, initial, Fill.NAN);
    }
}
