package io.brazier.train;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SampleOrderTest {
    @ParameterizedTest
    @CsvSource({"17,16,0", "33,16,0", "1000,7,0.1", "4097,64,0.25", "100000,33,0.5", "12,1,0"})
    void anEpochTakesEveryWindowOnceAndStaysInside(long numTokens, int sequenceLength, double validation) {
        SampleOrder order = new SampleOrder(numTokens, validation, sequenceLength, 5);
        long numTraining = numTokens - (long) (numTokens * validation);
        long n = order.windowsPerEpoch();
        for (long epoch = 0; epoch < 3; epoch++) {
            Set<Long> starts = new HashSet<>();
            for (long s = epoch * n; s < (epoch + 1) * n; s++) {
                long start = order.trainingStart(s);
                assertTrue(start >= 0 && start + sequenceLength + 1 <= numTraining, "start " + start);
                starts.add(start);
            }
            assertEquals(n, starts.size());
            long first = starts.iterator().next() % sequenceLength;
            assertTrue(starts.stream().allMatch(s -> s % sequenceLength == first), "windows do not overlap");
        }
        for (long v = 0; v < order.numValidationSamples(); v++) {
            long start = order.validationStart(v);
            assertTrue(start >= numTraining && start + sequenceLength + 1 <= numTokens);
        }
    }

    @Test
    void epochsAndSeedsDiffer() {
        SampleOrder a = new SampleOrder(100_000, 0, 10, 1);
        SampleOrder b = new SampleOrder(100_000, 0, 10, 2);
        assertNotEquals(a.trainingStart(0), b.trainingStart(0));
        assertNotEquals(a.trainingStart(0), a.trainingStart(a.windowsPerEpoch()));
    }

    @Test
    void tooLittleTextSaysHowMuchIsNeeded() {
        TrainingException e = assertThrows(TrainingException.class, () -> new SampleOrder(16, 0, 16, 1));
        assertTrue(e.getMessage().contains("16 tokens for training, a sample needs 17"), e.getMessage());
        assertThrows(TrainingException.class, () -> new SampleOrder(0, 0.1, 1, 1));
    }
}
