package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.tests.parity.Ranks.Run;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Every layout learns what one rank learns. Arenas start out full of NaN, so a read of unwritten memory shows. */
class LayoutParityTest {
    /** Sums over rows are cut up differently, so f32 rounds differently; a step amplifies it by AdamW's division. */
    private static final double LOSS_TOLERANCE = 1e-5;

    private static final double WEIGHT_TOLERANCE = 2e-4;

    private static final Ranks PLAIN = new Ranks(GptConfig.of(61, 20, 2, 3, 24), 12, 11, 0, 6);
    private static final Ranks DROPOUT = new Ranks(GptConfig.of(33, 16, 2, 2, 16), 12, 16, 0.2, 6);

    @ParameterizedTest
    @CsvSource({"2,1,1", "3,1,1", "4,1,1", "1,2,1", "1,3,2", "2,2,1", "2,3,1", "6,2,1", "1,12,1"})
    void matchesOneRank(int dp, int numMicroBatches, int numThreads) {
        for (Ranks ranks : new Ranks[] {PLAIN, DROPOUT}) {
            Run one = ranks.train(Layout.dataParallel(1), 1, 1);
            Run other = ranks.train(Layout.dataParallel(dp), numMicroBatches, numThreads);
            for (int x = 0; x < one.steps().size(); x++) {
                close(one.steps().get(x).loss(), other.steps().get(x).loss(), LOSS_TOLERANCE);
                close(one.steps().get(x).gradientNorm(), other.steps().get(x).gradientNorm(), 1e-4);
            }
            one.state().forEach((name, expected) -> {
                if (name.endsWith("WEIGHT") && !name.contains("c_attn.bias")) {
                    compare(name, expected, other.state().get(name));
                }
            });
        }
    }

    /** A key's bias has no gradient but rounding noise, which AdamW blows up to its rate: c_attn.bias is left out above. */
    private static void compare(String name, float[] expected, float[] actual) {
        for (int i = 0; i < expected.length; i++) {
            double error = Math.abs(expected[i] - actual[i]);
            assertTrue(error <= WEIGHT_TOLERANCE, name + "[" + i + "] is " + actual[i] + ", not " + expected[i]);
        }
    }

    private static void close(double expected, double actual, double tolerance) {
        assertEquals(expected, actual, tolerance * Math.abs(expected));
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "1,2,2", "2,2,1", "4,1,1"})
    void repeatsToTheLastBit(int dp, int numMicroBatches, int numThreads) {
        Run first = DROPOUT.train(Layout.dataParallel(dp), numMicroBatches, numThreads);
        Run second = DROPOUT.train(Layout.dataParallel(dp), numMicroBatches, numThreads);
        assertEquals(first.steps(), second.steps());
        first.state()
                .forEach((name, values) ->
                        assertArrayEquals(values, second.state().get(name), name));
    }

    @Test
    void lossFallsOnOneBatch() {
        Ranks ranks = new Ranks(GptConfig.of(17, 16, 1, 2, 16), 4, 16, 0, 1);
        double first = ranks.train(Layout.dataParallel(1), 1, 1).steps().get(0).loss();
        assertEquals(Math.log(17), first, 0.1);
    }
}
