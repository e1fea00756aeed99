package io.brazier.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class LearningRateScheduleTest {

    /** Rates worked out by hand: quarter points of the cosine are (1 + sqrt(1/2)) / 2 and its mirror. */
    @ParameterizedTest
    @CsvSource({
        "3, 11, 0, 0.25",
        "3, 11, 1, 0.5",
        "3, 11, 2, 0.75",
        "3, 11, 3, 1",
        "3, 11, 5, 0.8681980515339464",
        "3, 11, 7, 0.55",
        "3, 11, 9, 0.2318019484660536",
        "3, 11, 11, 0.1",
        "3, 11, 5000, 0.1",
        "0, 4, 0, 1",
        "0, 4, 2, 0.55",
        "5, 5, 4, 0.8333333333333334",
        "5, 5, 5, 0.1"
    })
    void ratesAreThoseOfTheFormula(long warmupSteps, long numSteps, long step, double rate) {
        assertEquals(rate, new LearningRateSchedule(1, 0.1, warmupSteps, numSteps).rate(step), 1e-12);
    }
}
