package io.brazier.exec;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.math.BigDecimal;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Draws against a distribution that is worked out by sorting everything. */
class SamplerTest {
    private static final int NUM_DRAWS = 20_000;

    private static GenerationConfig config(double temperature, int topK, double topP) {
        return new GenerationConfig(1, temperature, topK, topP, 4, List.of());
    }

    @ParameterizedTest
    @CsvSource({
        "1, 0, 1, 40",
        "0.6, 0, 1, 40",
        "3, 0, 1, 40",
        "1, 7, 1, 40",
        "1, 1, 1, 40",
        "1, 40, 1, 40",
        "1, 900, 1, 40",
        "1, 0, 0.9, 40",
        "0.5, 0, 0.5, 40",
        "1, 0, 0.999, 40",
        "2, 12, 0.7, 40",
        "1, 3, 1e-6, 40",
        "1, 0, 0.95, 3000",
        "1, 50, 1, 3000",
        "1, 2, 0.9, 1"
    })
    void followsTheDistribution(double temperature, int topK, double topP, int vocabularySize) {
        Random random = new Random(31 * topK + vocabularySize);
        float[] logits = new float[vocabularySize];
        for (int v = 0; v < vocabularySize; v++) {
            // Halves make equals, which the order of tokens must decide.
            logits[v] = Math.round(4 * random.nextGaussian()) / 2f - 100;
        }
        TreeMap<Integer, Double> expected = distribution(logits, temperature, topK, topP);
        Sampler sampler = new Sampler(config(temperature, topK, topP));
        int[] counts = new int[vocabularySize];
        for (int key = 0; key < NUM_DRAWS; key++) {
            counts[sampler.sample(logits, key, 3)]++;
        }
        double chiSquared = 0;
        int degrees = -1;
        double rareMean = 0;
        double rareCount = 0;
        for (int v = 0; v < vocabularySize; v++) {
            double mean = NUM_DRAWS * expected.getOrDefault(v, 0.0);
            if (mean == 0) {
                assertEquals(0, counts[v], "token " + v + " is cut off");
            } else if (mean < 20) {
                rareMean += mean;
                rareCount += counts[v];
            } else {
                chiSquared += (counts[v] - mean) * (counts[v] - mean) / mean;
                degrees++;
            }
        }
        if (rareMean > 0) {
            chiSquared += (rareCount - rareMean) * (rareCount - rareMean) / rareMean;
            degrees++;
        }
        // Mean and variance of chi-squared are d and 2 d.
        assertTrue(chiSquared <= degrees + 5 * Math.sqrt(2.0 * degrees), chiSquared + " of " + degrees);
    }

    /** Probability of each token that is left. */
    private static TreeMap<Integer, Double> distribution(float[] logits, double temperature, int topK, double topP) {
        List<Integer> order = new ArrayList<>();
        for (int v = 0; v < logits.length; v++) {
            order.add(v);
        }
        order.sort((a, b) -> logits[a] != logits[b] ? Float.compare(logits[b], logits[a]) : a - b);
        if (topK > 0 && topK < order.size()) {
            order = order.subList(0, topK);
        }
        BigDecimal total = BigDecimal.ZERO;
        for (int v : order) {
            total = total.add(weight(logits[v], temperature));
        }
        TreeMap<Integer, Double> kept = new TreeMap<>();
        BigDecimal reached = BigDecimal.ZERO;
        for (int v : order) {
            if (!kept.isEmpty() && reached.compareTo(total.multiply(new BigDecimal(topP))) >= 0) {
                break;
            }
            reached = reached.add(weight(logits[v], temperature));
            kept.put(v, weight(logits[v], temperature).doubleValue());
        }
        double sum = reached.doubleValue();
        kept.replaceAll((v, w) -> w / sum);
        return kept;
    }

    private static BigDecimal weight(float logit, double temperature) {
        return new BigDecimal(Math.exp((logit + 100) / temperature));
    }

    @Test
    void drawsDependOnSeedRowAndPosition() {
        float[] flat = new float[1 << 16];
        Sampler sampler = new Sampler(config(1, 0, 1));
        int token = sampler.sample(flat, 5, 9);
        assertEquals(token, new Sampler(config(1, 0, 1)).sample(flat, 5, 9));
        assertNotEquals(token, sampler.sample(flat, 6, 9));
        assertNotEquals(token, sampler.sample(flat, 5 + (1L << 32), 9));
        assertNotEquals(token, sampler.sample(flat, 5, 10));
        assertNotEquals(token, new Sampler(new GenerationConfig(1, 1, 0, 1, 5, List.of())).sample(flat, 5, 9));
    }

    @Test
    void greedyTakesTheFirstOfEquals() {
        assertEquals(1, new Sampler(config(0, 0, 1)).sample(new float[] {-0f, 2, 1, 2}, 0, 0));
    }

    @Test
    void forbiddenTokensAreNeverDrawn() {
        float[] logits = {Float.NEGATIVE_INFINITY, 0, Float.NEGATIVE_INFINITY, 0};
        for (GenerationConfig c : List.of(config(1, 0, 1), config(1, 3, 1), config(1, 0, 0.9), config(1, 3, 0.9))) {
            Sampler sampler = new Sampler(c);
            for (int key = 0; key < 1000; key++) {
                assertEquals(1, sampler.sample(logits, key, 0) % 2);
            }
        }
    }

    @Test
    void damagedWeightsAreNoticed() {
        for (float bad : new float[] {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY}) {
            float[] logits = {bad, bad, bad};
            IllegalArgumentException e = assertThrows(
                    IllegalArgumentException.class, () -> new Sampler(config(0, 0, 1)).sample(logits, 2, 7));
            assertTrue(e.getMessage().contains("token 7 of row 2"), e.getMessage());
        }
    }
}
