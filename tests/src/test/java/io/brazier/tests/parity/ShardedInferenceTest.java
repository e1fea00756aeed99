package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.collective.Communicator;
import io.brazier.cpu.CpuCommunicators;
import io.brazier.cpu.CpuEngines;
import io.brazier.exec.InferenceEngine;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.LlamaConfig;
import io.brazier.nn.LlamaConfig.Experts;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.InferencePlan;
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
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Scores and logits of a model that is split over tp and pp are those of one device. */
class ShardedInferenceTest {
    private static final ModelConfig GPT = GptConfig.of(61, 48, 4, 4, 20);
    private static final ModelConfig LLAMA =
            new LlamaConfig(61, 48, 4, 8, 4, 6, 20, 28, 1e-5, 500, RotaryScaling.NONE, false, Experts.NONE);
    private static final int[][] ROWS = {{3, 1, 4, 1, 5}, new int[40], {9}};

    @ParameterizedTest
    @CsvSource({"2, 1", "4, 1", "1, 2", "1, 3", "2, 2"})
    void equalsOneDevice(int tp, int pp) throws Exception {
        for (ModelConfig model : List.of(GPT, LLAMA)) {
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
                    assertArrayEquals(expected[r], actual[r], 1e-5f, model + " " + mesh + " result " + r);
                }
            }
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
        long cache = 0;
        for (int rank = 0; rank < mesh.worldSize(); rank++) {
            cache += cacheBytes(model, mesh, rank);
        }
        assertEquals(cacheBytes(model, Mesh.dataParallel(1), 0), cache);
    }

    private static long cacheBytes(ModelConfig model, Mesh mesh, int rank) {
        return InferencePlan.make(model.model(), mesh, rank, 4, 44, i -> 0)
                .plan()
                .regions()
                .getOrDefault(Region.CACHE, 0L);
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
