package io.brazier.train;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.optim.LearningRateSchedule;
import io.brazier.train.LoopRanks.Outcome;
import io.brazier.train.TrainingException.Category;
import io.brazier.train.TrainingResult.End;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.LongStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The loop's decisions, with an engine whose losses the tests write. */
class TrainerTest {

    private static TrainingConfig.Builder config() {
        return TrainingConfig.builder()
                .batchSize(12)
                .sequenceLength(3)
                .numSteps(7)
                .warmupSteps(2)
                .evaluationInterval(3);
    }

    static void assertSameState(Map<String, float[]> expected, Map<String, float[]> actual) {
        assertEquals(expected.keySet(), actual.keySet());
        expected.forEach((name, values) -> assertArrayEquals(values, actual.get(name), name));
    }

    /** Validation losses after 1, 2, … evaluations at an interval of one step. */
    private static FakeEngine.Script validation(double... losses) {
        return new FakeEngine.Script() {
            @Override
            public double validationLoss(long numSteps) {
                return losses[(int) numSteps - 1];
            }
        };
    }

    private static FakeEngine.Script diverging(Set<Long> steps) {
        return new FakeEngine.Script() {
            @Override
            public double loss(long step) {
                return steps.contains(step) ? Double.NaN : 1;
            }
        };
    }

    @Test
    void stepsAreReportedWithTheirRates() throws Exception {
        TrainingConfig config = config().build();
        TrainingResult result = new LoopRanks(config).run().get(0).result();
        assertEquals(7, result.numSteps());
        assertEquals(0, result.firstStep());
        assertEquals(End.ALL_STEPS, result.end());
        LearningRateSchedule schedule = new LearningRateSchedule(config.learningRate(), config.minLearningRate(), 2, 7);
        for (int s = 0; s < 7; s++) {
            StepReport report = result.steps().get(s);
            assertEquals(s + 1, report.step());
            assertEquals(7, report.numSteps());
            assertEquals(5.0 / (s + 1), report.loss());
            assertEquals(schedule.rate(s), report.learningRate());
            assertEquals(36, report.tokens());
            assertEquals(77, report.memoryBytes());
            assertTrue(report.modelFlops() > 0 && report.seconds() > 0);
        }
    }

    @ParameterizedTest
    @CsvSource({"0, 7", "1, 1 2 3 4 5 6 7", "3, 3 6 7", "7, 7", "9, 7"})
    void evaluatesEveryIntervalAndAtTheEnd(long interval, String steps) throws Exception {
        TrainingResult result = new LoopRanks(
                        config().evaluationInterval(interval).build())
                .run()
                .get(0)
                .result();
        long[] expected =
                List.of(steps.split(" ")).stream().mapToLong(Long::parseLong).toArray();
        assertArrayEquals(
                expected,
                result.evaluations().stream().mapToLong(EvaluationReport::step).toArray());
        for (EvaluationReport report : result.evaluations()) {
            assertEquals(6.0 / (report.step() + 1), report.loss(), 1e-12);
            assertEquals(15, report.tokens());
        }
        assertEquals(7, result.bestStep());
    }

    /** Validation samples that fill no batch, one batch, and more than one. */
    @ParameterizedTest
    @ValueSource(longs = {1, 11, 12, 13, 30})
    void paddingDoesNotCount(long numValidation) throws Exception {
        for (int numRanks = 1; numRanks <= 3; numRanks++) {
            for (Outcome outcome : new LoopRanks(config().evaluationInterval(0).build())
                    .ranks(numRanks)
                    .validation(numValidation)
                    .run()) {
                EvaluationReport report = outcome.result().evaluations().get(0);
                assertEquals(6.0 / 8, report.loss(), 1e-12);
                assertEquals(3 * numValidation, report.tokens());
            }
        }
    }

    @Test
    void withoutValidationNothingIsEvaluated() throws Exception {
        TrainingResult result =
                new LoopRanks(config().build()).validation(0).run().get(0).result();
        assertTrue(result.evaluations().isEmpty());
        assertEquals(0, result.bestStep());
    }

    @Test
    void patienceNeedsValidation() {
        TrainingException e = assertThrows(
                TrainingException.class,
                () -> new LoopRanks(config().patience(2).build()).validation(0).run());
        assertEquals(Category.CONFIG, e.category());
        assertTrue(e.getMessage().contains("patience 2"), e.getMessage());
        assertTrue(e.getMessage().contains("validationFraction"), e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"2,1", "3,1", "1,4", "2,3", "4,3"})
    void everyLayoutTakesTheSameRows(int numRanks, int numMicroBatches) throws Exception {
        Map<String, float[]> one = new LoopRanks(config().build()).run().get(0).state();
        TrainingConfig split = config().numMicroBatches(numMicroBatches).build();
        for (Outcome outcome : new LoopRanks(split).ranks(numRanks).run()) {
            assertSameState(one, outcome.state());
        }
    }

    @Test
    void patienceEndsTheRunWithTheBestWeights() throws Exception {
        FakeEngine.Script script = validation(3, 2, 2.5, 2, 2.1, 1, 1);
        TrainingConfig impatient = config().evaluationInterval(1).patience(3).build();
        for (Outcome outcome : new LoopRanks(impatient).ranks(2).script(script).run()) {
            assertEquals(End.PATIENCE, outcome.result().end());
            assertEquals(5, outcome.result().numSteps());
            assertEquals(2, outcome.result().bestStep());
            Map<String, float[]> best = outcome.evaluated().get(2L);
            assertNotEquals(best.get("c WEIGHT")[0], outcome.evaluated().get(5L).get("c WEIGHT")[0]);
            for (String name : List.of("a WEIGHT", "b WEIGHT", "c WEIGHT")) {
                assertArrayEquals(best.get(name), outcome.state().get(name), name);
            }
        }
    }

    @Test
    void aLossThatIsNotFiniteStopsWithTheRemedy() {
        TrainingException e = assertThrows(TrainingException.class, () -> new LoopRanks(config().build())
                .ranks(2)
                .script(diverging(Set.of(4L)))
                .run());
        assertEquals(Category.DATA, e.category());
        for (String part : new String[] {"step 5 on rank", "loss NaN", "learningRate 0.001", "maxGradientNorm 1.0"}) {
            assertTrue(e.getMessage().contains(part), e.getMessage());
        }
    }

    @Test
    void skippedStepsAreWarnedOf() throws Exception {
        TrainingConfig skip = config().nonFinite(TrainingConfig.NonFinite.SKIP).build();
        for (Outcome outcome :
                new LoopRanks(skip).ranks(2).script(diverging(Set.of(1L, 4L))).run()) {
            assertEquals(7, outcome.result().numSteps());
            assertEquals(
                    2,
                    outcome.events().stream()
                            .filter(event -> event.startsWith("warning step"))
                            .count());
            assertFalse(Float.isNaN(outcome.state().get("a WEIGHT")[0]));
        }
    }

    @Test
    void tenSkippedStepsInARowEndTheRun() {
        TrainingConfig skip =
                config().numSteps(40).nonFinite(TrainingConfig.NonFinite.SKIP).build();
        // Nine in a row are borne, and the count starts anew behind them.
        Set<Long> steps = new TreeSet<>(
                LongStream.range(0, 40).filter(s -> s != 9).boxed().toList());
        TrainingException e = assertThrows(
                TrainingException.class,
                () -> new LoopRanks(skip).script(diverging(steps)).run());
        assertTrue(e.getMessage().contains("step 20 on rank 0"), e.getMessage());
        assertTrue(e.getMessage().contains("10"), e.getMessage());
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2})
    void stopsWhenRankZeroIsAsked(int numRanks) throws Exception {
        TrainingConfig config = config().numSteps(50).evaluationInterval(0).build();
        for (Outcome outcome : new LoopRanks(config)
                .ranks(numRanks)
                .listener(rank -> new TrainingListener() {
                    private long steps;

                    @Override
                    public void onStep(StepReport report) {
                        steps = report.step();
                    }

                    @Override
                    public boolean stopRequested() {
                        return rank == 0 && steps >= 13;
                    }
                })
                .run()) {
            assertEquals(End.STOP_REQUESTED, outcome.result().end());
            assertTrue(outcome.result().numSteps() >= 13 && outcome.result().numSteps() < 25);
        }
    }
}
