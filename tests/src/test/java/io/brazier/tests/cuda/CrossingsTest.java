package io.brazier.tests.cuda;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cuda.CudaBackend.Mode;
import io.brazier.exec.TrainingSpec;
import io.brazier.nn.GptConfig;
import io.brazier.optim.AdamWSettings;
import io.brazier.plan.Layout;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** How often a training step crosses from Java into NVIDIA's libraries. */
@Tag("cuda")
class CrossingsTest {
    /** A launch; and what moves tokens, targets, seeds and a loss between host and device: a wait, a copy, an event each. */
    private static final double MOST_PER_LAUNCH = 8;

    private static TrainingSpec spec(int numLayers, int numRanks) {
        return spec(numLayers, numRanks, 2);
    }

    private static TrainingSpec spec(int numLayers, int numRanks, int numMicroBatches) {
        AdamWSettings optimizer = new AdamWSettings(0.9, 0.95, 1e-8, 0.1, 1.0);
        GptConfig model = GptConfig.of(29, 8, numLayers, 2, 32);
        return new TrainingSpec(model, Layout.dataParallel(numRanks), 2, numMicroBatches, 8, 0.1, optimizer, 1);
    }

    @Test
    void aStepOfGraphsIsOneLaunchForEachSegmentAndTheCopiesInAndOut() {
        Crossings one = Crossings.ofStep(spec(1, 1), Mode.GRAPH);
        assertEquals(one.launches(), one.of("cuGraphLaunch"));
        assertEquals(0, one.of("cuLaunchKernel") + one.of("cublasLtMatmul"), one::toString);
        assertTrue(one.total() <= MOST_PER_LAUNCH * one.launches(), one::toString);
        assertEquals(one.calls(), Crossings.ofStep(spec(3, 1), Mode.GRAPH).calls(), "layers cost no crossing");
    }

    @Test
    void noMicroBatchIsWaitedFor() {
        double one = Crossings.ofStep(spec(1, 1, 1), Mode.GRAPH).of("cuStreamSynchronize");
        assertTrue(one >= 1, "losses and norm are read");
        assertEquals(one, Crossings.ofStep(spec(1, 1, 5), Mode.GRAPH).of("cuStreamSynchronize"));
    }

    @Test
    void exchangesAreInsideTheGraphs() {
        Crossings two = Crossings.ofStep(spec(1, 2), Mode.GRAPH);
        assertEquals(two.launches(), two.of("cuGraphLaunch"));
        assertEquals(0, two.of("ncclAllReduce") + two.of("cuLaunchKernel"), two::toString);
        assertTrue(two.total() <= MOST_PER_LAUNCH * two.launches(), two::toString);
    }

    @Test
    void launchesOneByOneAreOneForEachInstruction() {
        Crossings eager = Crossings.ofStep(spec(1, 1), Mode.EAGER);
        double launched = eager.of("cuLaunchKernel") + eager.of("cublasLtMatmul");
        assertTrue(launched >= eager.launches() && launched <= 2 * eager.instructions(), eager::toString);
        assertEquals(0, eager.of("cuGraphLaunch"), eager::toString);
    }
}
