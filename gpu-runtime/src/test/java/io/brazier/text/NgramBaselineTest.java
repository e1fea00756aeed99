package io.brazier.text;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class NgramBaselineTest {
    private static final int VOCABULARY = 5;

    /** Skewed draws, so that some contexts are rich and others never seen. */
    private static int[] text(int seed, int length) {
        Random random = new Random(seed);
        return IntStream.range(0, length)
                .map(t -> Math.min(VOCABULARY - 1, (int) (random.nextDouble() * random.nextDouble() * 6)))
                .toArray();
    }

    /** The formula again, with maps over lists of tokens. */
    private static double probability(List<Integer> train, List<Integer> gram, int order) {
        if (gram.isEmpty()) {
            return 1.0 / VOCABULARY;
        }
        int k = gram.size();
        Map<List<Integer>, Integer> counts = new HashMap<>();
        Map<List<Integer>, Set<List<Integer>>> left = new HashMap<>();
        for (int t = 0; t + k <= train.size(); t++) {
            counts.merge(train.subList(t, t + k), 1, Integer::sum);
        }
        if (k < order) {
            // Left neighbours come from the highest order's windows, shortened one token at a time.
            for (int t = order - k; t + k <= train.size(); t++) {
                left.computeIfAbsent(train.subList(t, t + k), g -> new HashSet<>())
                        .add(train.subList(t - 1, t));
            }
            counts = left.entrySet().stream().collect(Collectors.toMap(Map.Entry::getKey, entry -> entry.getValue()
                    .size()));
        }
        List<Integer> context = gram.subList(0, k - 1);
        double once = counts.values().stream().filter(c -> c == 1).count();
        double twice = counts.values().stream().filter(c -> c == 2).count();
        double discount = once > 0 ? once / (once + 2 * twice) : 0.5;
        double total = 0;
        double followers = 0;
        for (Map.Entry<List<Integer>, Integer> entry : counts.entrySet()) {
            if (entry.getKey().subList(0, k - 1).equals(context)) {
                total += entry.getValue();
                followers++;
            }
        }
        double lower = probability(train, gram.subList(1, k), order);
        if (total == 0) {
            return lower;
        }
        double kept = Math.max(counts.getOrDefault(gram, 0) - discount, 0);
        return kept / total + discount * followers / total * lower;
    }

    @Test
    void agreesWithTheFormula() {
        int[] train = text(1, 300);
        int[] other = text(2, 60);
        List<Integer> trainList = Arrays.stream(train).boxed().toList();
        List<Integer> otherList = Arrays.stream(other).boxed().toList();
        for (int order = 1; order <= 4; order++) {
            NgramBaseline model = NgramBaseline.train(train, order, VOCABULARY);
            for (int t = 0; t < other.length; t++) {
                List<Integer> gram = otherList.subList(Math.max(0, t - order + 1), t + 1);
                assertEquals(probability(trainList, gram, order), model.probability(other, t), 1e-12, "order " + order);
            }
        }
    }

    @Test
    void probabilitiesOfAllNextTokensSumToOne() {
        NgramBaseline model = NgramBaseline.train(text(3, 500), 4, VOCABULARY);
        int[] other = text(4, 40);
        for (int t = 0; t < other.length; t++) {
            double sum = 0;
            for (int w = 0; w < VOCABULARY; w++) {
                int[] changed = other.clone();
                changed[t] = w;
                sum += model.probability(changed, t);
            }
            assertEquals(1, sum, 1e-12);
        }
    }

    @Test
    void longerContextsPayOnTextThatRepeats() {
        int[] repeating =
                IntStream.range(0, 600).map(t -> new int[] {0, 1, 0, 2}[t % 4]).toArray();
        assertTrue(NgramBaseline.train(repeating, 3, VOCABULARY).loss(repeating)
                < 0.2 * NgramBaseline.train(repeating, 1, VOCABULARY).loss(repeating));
    }

    @Test
    void refusesWhatDoesNotFit() {
        int[] tokens = {0, 1, 2};
        assertThrows(IllegalArgumentException.class, () -> NgramBaseline.train(tokens, 4, VOCABULARY));
        assertThrows(IllegalArgumentException.class, () -> NgramBaseline.train(tokens, 3, 1 << 22));
        assertThrows(IllegalArgumentException.class, () -> NgramBaseline.train(tokens, 2, 2));
    }
}
