package io.brazier.exec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.cpu.CpuEngines;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.InitialWeights;
import io.brazier.nn.WeightSource;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TextGeneratorTest {
    private static final GptConfig MODEL = GptConfig.of(31, 80, 2, 2, 16);

    private static InferenceEngine engine(int maxBatch, int maxTokens) {
        InitialWeights drawn = new InitialWeights(new Gpt(MODEL).parameters(), 3);
        WeightSource larger = (name, offset, target) -> {
            int start = target.position();
            drawn.read(name, offset, target);
            for (int x = start; name.endsWith("weight") && !name.contains("ln") && x < target.limit(); x++) {
                target.put(x, 20 * target.get(x));
            }
        };
        return CpuEngines.inference(MODEL, larger, 1, maxBatch, maxTokens);
    }

    private static int[] prompt(int length, int seed) {
        return new java.util.Random(seed).ints(length, 0, 31).toArray();
    }

    private static GenerationConfig config(int maxNewTokens, double temperature, int... stop) {
        return new GenerationConfig(
                maxNewTokens, temperature, 0, 1, 11, Arrays.stream(stop).boxed().toList());
    }

    /** Cached decoding must give what feeding the whole row gives. */
    @Test
    void cacheChangesNothing() {
        try (InferenceEngine engine = engine(4, 80)) {
            int[][] prompts = {prompt(1, 1), prompt(33, 2), prompt(64, 3), prompt(7, 4)};
            int[][] made = new TextGenerator(engine, config(12, 0)).generate(prompts, new long[4]);
            for (int r = 0; r < prompts.length; r++) {
                int[] row = prompts[r];
                for (int token : made[r]) {
                    float[] logits = engine.prefill(new int[][] {row})[0];
                    int best = 0;
                    for (int v = 0; v < logits.length; v++) {
                        best = logits[v] > logits[best] ? v : best;
                    }
                    assertEquals(best, token, "row " + r);
                    row = Arrays.copyOf(row, row.length + 1);
                    row[row.length - 1] = token;
                }
            }
        }
    }

    @Test
    void scoreAgreesWithLogits() {
        try (InferenceEngine engine = engine(2, 80)) {
            int[] row = prompt(50, 9);
            float[] scores = engine.logLikelihood(new int[][] {prompt(3, 1), row})[1];
            assertEquals(49, scores.length);
            for (int t = 1; t < row.length; t++) {
                float[] logits = engine.prefill(new int[][] {Arrays.copyOf(row, t)})[0];
                double sum = 0;
                for (float logit : logits) {
                    sum += Math.exp(logit);
                }
                assertEquals(logits[row[t]] - Math.log(sum), scores[t - 1], 1e-4);
            }
            assertEquals(0, engine.logLikelihood(new int[][] {{5}})[0].length);
        }
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 3, 8})
    void rowsDoNotDependOnTheBatch(int batch) {
        try (InferenceEngine engine = engine(8, 40)) {
            TextGenerator generator = new TextGenerator(engine, config(60, 0.9, 7));
            int[][] prompts = new int[batch][];
            long[] keys = new long[batch];
            for (int r = 0; r < batch; r++) {
                prompts[r] = prompt(1 + 9 * r, r);
                keys[r] = 100 + r;
            }
            int[][] together = generator.generate(prompts, keys);
            for (int r = 0; r < batch; r++) {
                int[] alone = generator.generate(new int[][] {prompts[r]}, new long[] {keys[r]})[0];
                assertArrayEquals(alone, together[r], "row " + r);
                assertTrue(Arrays.stream(alone).noneMatch(token -> token == 7));
            }
        }
    }

    @Test
    void samplingFollowsTheDistribution() {
        float[] logits = {0, 1, 2, -1};
        double[] expected = new double[4];
        double sum = 0;
        for (int v = 0; v < 4; v++) {
            expected[v] = Math.exp(logits[v] / 0.7);
            sum += expected[v];
        }
        Sampler sampler = new Sampler(config(1, 0.7));
        int draws = 20_000;
        int[] counts = new int[4];
        for (int key = 0; key < draws; key++) {
            counts[sampler.sample(logits, key, 5)]++;
        }
        double chiSquared = 0;
        for (int v = 0; v < 4; v++) {
            double mean = draws * expected[v] / sum;
            chiSquared += (counts[v] - mean) * (counts[v] - mean) / mean;
        }
        assertTrue(chiSquared < 16.3, "chi-squared with 3 degrees of freedom is " + chiSquared);
    }

    @Test
    void topKAndTopPCutOffTheTail() {
        float[] logits = {0, 3, 2, -1, 2.5f};
        assertEquals(List.of(1, 4), drawn(new Sampler(new GenerationConfig(1, 1, 2, 1, 1, List.of())), logits));
        // Probabilities are 0.47, 0.28, 0.17, 0.02, 0.01 from the likeliest down.
        assertEquals(List.of(1, 4), drawn(new Sampler(new GenerationConfig(1, 1, 0, 0.6, 1, List.of())), logits));
        assertEquals(List.of(1, 2, 4), drawn(new Sampler(new GenerationConfig(1, 1, 0, 0.8, 1, List.of())), logits));
        assertEquals(List.of(1), drawn(new Sampler(new GenerationConfig(1, 1, 0, 1e-9, 1, List.of())), logits));
        assertEquals(List.of(1), drawn(new Sampler(new GenerationConfig(1, 0, 0, 1, 1, List.of())), logits));
    }

    private static List<Integer> drawn(Sampler sampler, float[] logits) {
        return java.util.stream.IntStream.range(0, 3000)
                .map(key -> sampler.sample(logits, key, 0))
                .distinct()
                .sorted()
                .boxed()
                .toList();
    }
}
