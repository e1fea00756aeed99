package io.brazier.tests.parity;

import static io.brazier.tests.parity.InferenceRanks.GPT;
import static io.brazier.tests.parity.InferenceRanks.LLAMA;
import static io.brazier.tests.parity.InferenceRanks.MAX_BATCH;
import static io.brazier.tests.parity.InferenceRanks.MAX_TOKENS;
import static io.brazier.tests.parity.InferenceRanks.MIXTRAL;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cpu.CpuEngines;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.nn.GptConfig;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Scores and logits of a model that is split over tp and pp are those of one device. */
class ShardedInferenceTest {
    private static final ModelConfig LARGE_GPT = GptConfig.of(1003, 256, 12, 8, 512);
    private static final ModelConfig LARGE_LLAMA =
            new LlamaConfig(1003, 256, 12, 8, 4, 64, 512, 1024, 1e-5, 500, RotaryScaling.NONE, false, Experts.NONE);

    /** A region ends at a multiple of a huge page. */
    private static final long PAGE = 2L << 20;

    @ParameterizedTest
    @CsvSource({"2, 1", "4, 1", "1, 2", "1, 3", "2, 2"})
    void equalsOneDevice(int tp, int pp) throws Exception {
        Mesh mesh = new Mesh(1, pp, 1, 1, tp);
        for (ModelConfig model : List.of(GPT, LLAMA, MIXTRAL)) {
            float[][] expected = InferenceRanks.onOneDevice(model, InferenceRanks::scoresAndLogits);
            List<float[][]> ranks = InferenceRanks.onRanks(
                    model,
                    mesh,
                    (config, weights, c, m) -> CpuEngines.inference(config, weights, c, m, 1, MAX_BATCH, MAX_TOKENS),
                    InferenceRanks::scoresAndLogits);
            for (float[][] actual : ranks) {
                InferenceRanks.assertClose(expected, actual, model + " " + mesh);
            }
        }
    }

    /** What a rank may need of one device's bytes: its share, and what is not shared: norms, hidden states, and the vocabulary, which a
     * pipeline's ends hold. */
    @ParameterizedTest
    @CsvSource({"1, 1, 1", "2, 1, 0.55", "4, 1, 0.3", "1, 2, 0.6", "1, 3, 0.4", "2, 2, 0.35"})
    void ranksAllocateTheirPartAsItIsPlanned(int tp, int pp, double share) {
        for (ModelConfig model : List.of(LARGE_GPT, LARGE_LLAMA)) {
            Mesh mesh = new Mesh(1, pp, 1, 1, tp);
            RankPlan whole =
                    plan(model, Mesh.dataParallel(1), 0, new ArenaBounds()).plan();
            long cache = 0;
            for (int rank = 0; rank < mesh.worldSize(); rank++) {
                ArenaBounds device = new ArenaBounds();
                InferencePlan inference = plan(model, mesh, rank, device);
                RankPlan plan = inference.plan();
                String what = "rank " + rank + " of " + mesh + " of " + model;
                try (LoadedPlan loaded = new LoadedPlan(plan, device, Fill.NAN)) {
                    inference.steps().values().forEach(steps -> steps.forEach(loaded::run));
                    assertEquals(plan.totalBytes(), device.allocatedBytes(), what);
                    assertTrue(device.usedBytes() > device.allocatedBytes() - PAGE, what);
                }
                assertEquals(0, device.allocatedBytes());
                assertTrue(
                        plan.totalBytes() <= share * whole.totalBytes(),
                        what + ": " + plan.totalBytes() + " of " + whole.totalBytes() + " bytes");
                cache += plan.regions().getOrDefault(Region.CACHE, 0L);
            }
            assertEquals(whole.regions().get(Region.CACHE), cache);
        }
    }

    private static InferencePlan plan(ModelConfig model, Mesh mesh, int rank, ArenaBounds device) {
        return InferencePlan.make(model.model(), mesh, rank, MAX_BATCH, MAX_TOKENS, device::workspaceBytes);
    }

    @Test
    void everyViolationIsNamedInOneMessage() {
        String message = assertThrows(
                        IllegalArgumentException.class,
                        () -> InferencePlan.make(GPT.model(), new Mesh(2, 9, 1, 1, 3), 0, 4, 44, i -> 0))
                .getMessage();
        for (String part : List.of(
                "inference under dp 2 * pp 9 * cp 1 * ep 1 * tp 3",
                "dp, cp and ep must be 1",
                "numHeads 4 is no multiple of tp 3",
                "hiddenWidth 80 is no multiple of tp 3",
                "pp 9 * chunksPerStage 1 = 9 stages, but the model has 6 pieces")) {
            assertTrue(message.contains(part), message);
        }
    }
}
