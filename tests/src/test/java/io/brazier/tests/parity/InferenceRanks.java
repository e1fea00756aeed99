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
import io.brazier.nn.WeightSource;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Mesh;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;

/** Scores and decodes on ranks that are threads of this process, all from the same weights. */
final class InferenceRanks {
    static final ModelConfig GPT = GptConfig.of(61, 48, 4, 4, 20);
    static final ModelConfig LLAMA = llama(Experts.NONE);
    static final ModelConfig MIXTRAL = llama(new Experts(3, 2, 0, 0));

    static final int MAX_BATCH = 4;
    static final int MAX_TOKENS = 44;

    private static final int[][] ROWS = {{3, 1, 4, 1, 5}, new int[40], {9}};

    private InferenceRanks() {}

    /** Makes a rank's engine of {@link #MAX_BATCH} rows and {@link #MAX_TOKENS} tokens. */
    interface Engines {
        InferenceEngine open(ModelConfig model, WeightSource weights, Communicator communicator, Mesh mesh);
    }

    private static ModelConfig llama(Experts experts) {
        return new LlamaConfig(61, 48, 4, 8, 4, 6, 20, 28, 1e-5, 500, RotaryScaling.NONE, false, experts);
    }

    static WeightSource weights(ModelConfig model) {
        return new InitialWeights(model.model().parameters(), 5);
    }

    /** Scores, the logits behind prompts and those behind three more tokens, of rows of different lengths. */
    static float[][] scoresAndLogits(InferenceEngine engine) {
        List<float[]> results = new ArrayList<>(List.of(engine.logLikelihood(ROWS)));
        results.addAll(List.of(engine.prefill(ROWS)));
        for (int step = 0; step < 3; step++) {
            results.addAll(List.of(engine.decode(new int[] {step, 7, 60 - step})));
        }
        return results.toArray(new float[0][]);
    }

    /** What the processor gives on one rank. */
    static <T> T onOneDevice(ModelConfig model, Function<InferenceEngine, T> work) {
        try (InferenceEngine engine = CpuEngines.inference(model, weights(model), 1, MAX_BATCH, MAX_TOKENS)) {
            return work.apply(engine);
        }
    }

    /** What each rank gives. */
    static <T> List<T> onRanks(ModelConfig model, Mesh mesh, Engines engines, Function<InferenceEngine, T> work)
            throws Exception {
        List<Communicator> communicators = CpuCommunicators.local(mesh.worldSize(), Duration.ofSeconds(30));
        ExecutorService threads = Executors.newFixedThreadPool(mesh.worldSize());
        try {
            List<Future<T>> running = new ArrayList<>();
            for (Communicator c : communicators) {
                running.add(threads.submit(() -> {
                    try (InferenceEngine engine = engines.open(model, weights(model), c, mesh)) {
                        return work.apply(engine);
                    } catch (RuntimeException | Error e) {
                        c.abort("rank failed: " + e);
                        throw e;
                    }
                }));
            }
            List<T> results = new ArrayList<>();
            for (Future<T> rank : running) {
                results.add(rank.get(120, TimeUnit.SECONDS));
            }
            return results;
        } finally {
            threads.shutdownNow();
            communicators.forEach(c -> c.abort("test over"));
        }
    }

    /** Sums in another order: rounding of f32, relative to the largest of the numbers summed. */
    static void assertClose(float[][] expected, float[][] actual, String what) {
        assertEquals(expected.length, actual.length);
        for (int r = 0; r < expected.length; r++) {
            float largest = 0;
            for (float value : expected[r]) {
                largest = Math.max(largest, Math.abs(value));
            }
            assertArrayEquals(expected[r], actual[r], 1e-5f * largest, what + " result " + r);
        }
    }
}
