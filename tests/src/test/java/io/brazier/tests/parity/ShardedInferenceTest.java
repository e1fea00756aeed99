package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.LoadedPlan;
import io.brazier.exec.LoadedPlan.Fill;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.InferencePlan;
import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Scores and logits of a model that is split over tp and pp are those of one device. */
class ShardedInferenceTest {
    private static final ModelConfig GPT = GptConfig.of(61, 48, 4, 4, 20);
    private static final ModelConfig LLAMA =
            new LlamaConfig(61, 48, 4, 8, 4, 6, 20, 28, 1e-5, 500, RotaryScaling.NONE, false, Experts.NONE);
    private static final ModelConfig MIXTRAL =
            new LlamaConfig(61, 48, 4, 8, 4, 6, 20, 28, 1e-5, 500, RotaryScaling.NONE, false, new Experts(3, 2, 0, 0));
    private static final ModelConfig LARGE_GPT = GptConfig.of(1003, 256, 12, 8, 512);
    private static final ModelConfig LARGE_LLAMA =
            new LlamaConfig(1003, 256, 12, 8, 4, 64, 512, 1024, 1e-5, 500, RotaryScaling.NONE, false, Experts.NONE);

    /** A region ends at a multiple of a huge page. */
    private static final long PAGE = 2L << 20;

    private static final int[][] ROWS = {{3, 1, 4, 1, 5}, new int[40], {9}};

    @ParameterizedTest
    @CsvSource({"2, 1", "4, 1", "1, 2", "1, 3", "2, 2"})
    void equalsOneDevice(int tp, int pp) throws Exception {
        for (ModelConfig model : List.of(GPT, LLAMA, MIXTRAL)) {
            compare(model, new Mesh(1, pp, 1, 1, tp));
        }
    }

    private static void compare(ModelConfig model, Mesh mesh) throws Exception {
        InitialWeights weights = new InitialWeights(model.model().parameters(), 5);
        float[][] expected;
        try (InferenceEngine engine = CpuEngines.inference(model, weights, 1, 4, 44)) {
            expected = run(engine);
        }
        List<Communicator> communicators = CpuCommunicators.local(mesh.worldSize(), Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(mesh.worldSize());
        try {
            List<Future<float[][]>> running = new ArrayList<>();
            for (Communicator c : communicators) {
                running.add(threads.submit(() -> {
                    try (InferenceEngine engine = CpuEngines.inference(
                            model, new InitialWeights(model.model().parameters(), 5), c, mesh, 1, 4, 44)) {
                        return run(engine);
                    } catch (RuntimeException | Error e) {
                        c.abort("rank failed: " + e);
                        throw e;
                    }
                }));
            }
            for (Future<float[][]> rank : running) {
                float[][] actual = rank.get(60, TimeUnit.SECONDS);
                assertEquals(expected.length, actual.length);
                for (int r = 0; r < expected.length; r++) {
                    assertClose(expected[r], actual[r], model + " " + mesh + " result " + r);
                }
            }
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    /** Row-parallel products sum their parts in another order: rounding of f32, relative to the largest of the numbers summed. */
    private static void assertClose(float[] expected, float[] actual, String what) {
        assertEquals(expected.length, actual.length, what);
        float largest = 0;
        for (float value : expected) {
            largest = Math.max(largest, Math.abs(value));
        }
        assertArrayEquals(expected, actual, 1e-5f * largest, what);
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
        return InferencePlan.make(model.model(), mesh, rank, 4, 44, device::workspaceBytes);
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

    private static float[][] run(InferenceEngine engine) {
        List<float[]> results = new ArrayList<>(List.of(engine.logLikelihood(ROWS)));
        results.addAll(List.of(engine.prefill(ROWS)));
        for (int step = 0; step < 3; step++) {
            results.addAll(List.of(engine.decode(new int[] {step, 7, 60 - step})));
        }
        return results.toArray(new float[0][]);
    }
}
