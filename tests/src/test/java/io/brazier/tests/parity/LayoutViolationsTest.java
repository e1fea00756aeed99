package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Mesh;
import java.util.List;
import org.junit.jupiter.api.Test;

/** A layout that cannot run says everything that is wrong with it, at once. */
class LayoutViolationsTest {
    private static final GptConfig MODEL = new GptConfig(5, 16, 2, 3, 9, 10, 1e-5);

    @Test
    void allAreNamedInOneMessage() {
        Layout layout = new Layout(
                new Mesh(2, 3, 2, 2, 4),
                true,
                4,
                Layout.Recompute.NONE,
                Layout.Precision.FP32,
                Schedule.INTERLEAVED,
                2);
        LayoutCase c = new LayoutCase(new Ranks(MODEL, 16, 10, 0, 1), layout, 4);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> TrainingPlan.make(c.request(0), i -> 0));
        List<String> violations = List.of(
                "numHeads 3 is no multiple of tp 4",
                "hiddenWidth 10 is no multiple of tp 4",
                "vocabularySize 5 leaves some of tp 4 ranks without a token",
                "sequenceLength 10 is no multiple of 2 * cp = 4",
                "the 5 tokens of a rank's sequence are no multiple of tp 4",
                "ep 2 needs a model",
                "pp 3 * chunksPerStage 2 = 6 stages, but the model has 4 pieces",
                "zeroStage 4 must be 0, 1, 2 or 3",
                "4 micro-batches are no multiple of the 3 stages: use 6");
        for (String violation : violations) {
            assertTrue(e.getMessage().contains(violation), violation + " is not in: " + e.getMessage());
        }
    }

    @Test
    void rowsMustFillMicroBatches() {
        LayoutCase c = new LayoutCase(new Ranks(MODEL, 10, 16, 0, 1), Layout.dataParallel(2), 3);
        String expected = "batchSize 10 is no multiple of dp 2 * ep 1 * numMicroBatches 3 = 6";
        assertEquals(1, c.violations().size());
        assertTrue(c.violations().get(0).startsWith(expected), c.violations().toString());
    }

    @Test
    void whatCanRunHasNone() {
        Layout layout = Layout.of(new Mesh(2, 4, 1, 1, 1)).withZeroStage(3);
        assertEquals(List.of(), new LayoutCase(new Ranks(MODEL, 2, 16, 0, 1), layout, 1).violations());
    }
}
