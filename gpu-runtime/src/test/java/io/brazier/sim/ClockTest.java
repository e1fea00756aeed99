package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.pipeline.Action;
import io.brazier.pipeline.Schedule;
import io.brazier.pipeline.Transfer;
import io.brazier.sim.Clock.Result;
import io.brazier.sim.Clock.Usage;
import io.brazier.sim.Task.Compute;
import io.brazier.sim.Task.Meeting;
import io.brazier.sim.Task.Start;
import io.brazier.sim.Task.Wait;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The clock against arithmetic done by hand. */
class ClockTest {
    private static final double EXACT = 1e-12;

    private static Result run(List<List<Task>> ranks) {
        Result result = Clock.run(ranks, (rank, stream, name, start, end) -> {});
        for (Usage usage : result.ranks()) {
            double exposed = usage.communication().values().stream()
                    .mapToDouble(Clock.Communication::exposed)
                    .sum();
            assertEquals(result.stepSeconds(), usage.computeSeconds() + exposed + usage.idleSeconds(), 1e-9);
        }
        return result;
    }

    private static Start start(String token, String stream, double seconds) {
        return start(token, stream, seconds, 0);
    }

    private static Start start(String token, String stream, double seconds, double processorFraction) {
        return new Start(token, token, stream, seconds, processorFraction, null);
    }

    @Test
    void communicationHidesBehindComputeUntilItIsAwaited() {
        Result r = run(List.of(List.of(new Compute("a", 2), start("g", "dp", 5), new Compute("b", 3), new Wait("g"))));
        assertEquals(7, r.stepSeconds(), EXACT);
        assertEquals(
                new Clock.Communication(5, 2), r.ranks().get(0).communication().get("dp"));
    }

    @Test
    void callsOfOneStreamFollowEachOtherAndStreamsRunSideBySide() {
        List<Task> one = List.of(start("a", "dp", 4), start("b", "dp", 3), new Wait("a"), new Wait("b"));
        assertEquals(7, run(List.of(one)).stepSeconds(), EXACT);
        List<Task> two = List.of(start("a", "dp", 4), start("b", "tp", 3), new Wait("a"), new Wait("b"));
        assertEquals(4, run(List.of(two)).stepSeconds(), EXACT);
    }

    @Test
    void computeIsSlowerWhileSomethingIsInFlight() {
        // 4 s in flight at 3/4 of the speed do 3 s of work; the remaining 2 run at full speed.
        Result r = run(List.of(List.of(start("g", "dp", 4, 0.25), new Compute("a", 5), new Wait("g"))));
        assertEquals(6, r.stepSeconds(), EXACT);
        assertEquals(1, r.ranks().get(0).slowdownSeconds(), EXACT);
    }

    @Test
    void ofWhatIsInFlightTheGreediestSlows() {
        // 2 s at 1/2 of the speed and 2 s at 3/4 do 2.5 s of work.
        Result r = run(List.of(List.of(
                start("g", "dp", 4, 0.25),
                start("h", "tp", 2, 0.5),
                new Compute("a", 5),
                new Wait("g"),
                new Wait("h"))));
        assertEquals(6.5, r.stepSeconds(), EXACT);
    }

    @Test
    void aMeetingBeginsWhenTheLastMemberArrives() {
        Start meet = new Start("m", "m", "pp", 2, 0, new Meeting("m", "link m", 2));
        Result r = run(List.of(
                List.of(new Compute("a", 1), meet, new Wait("m")), List.of(new Compute("b", 5), meet, new Wait("m"))));
        assertEquals(7, r.stepSeconds(), EXACT);
        assertEquals(4, r.ranks().get(0).idleSeconds(), EXACT);
        assertEquals(2, r.ranks().get(0).communication().get("pp").exposed(), EXACT);
    }

    @Test
    void ranksThatWaitForEachOtherAreRefused() {
        Start a = new Start("a", "message a", "pp 0", 1, 0, new Meeting("a", "link a", 2));
        Start b = new Start("b", "message b", "pp 1", 1, 0, new Meeting("b", "link b", 2));
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> run(List.of(List.of(a, new Wait("a"), b, new Wait("b")), List.of(b, new Wait("b"), a))));
        assertTrue(e.getMessage().contains("stage 0 waits for message a; stage 1 waits for message b"), e.getMessage());
    }

    /** GPipe and 1F1B idle for p - 1 micro-batches, interleaved for 1 / v of that (arXiv:2104.04473, sec. 2.2). */
    @ParameterizedTest
    @CsvSource({
        "GPIPE, 4, 8, 1",
        "GPIPE, 1, 3, 1",
        "ONE_F_ONE_B, 2, 2, 1",
        "ONE_F_ONE_B, 4, 8, 1",
        "ONE_F_ONE_B, 16, 128, 1",
        "INTERLEAVED, 4, 8, 2",
        "INTERLEAVED, 8, 64, 5"
    })
    void pipelinesIdleAsTheirFormulasSay(Schedule schedule, int numStages, int numMicroBatches, int numChunks) {
        Result r = run(stages(schedule, numStages, numMicroBatches, numChunks));
        double idle = (numStages - 1) * 3.0 / numChunks;
        assertEquals(numMicroBatches * 3.0 + idle, r.stepSeconds(), 1e-9);
        r.ranks().forEach(usage -> assertEquals(idle, usage.idleSeconds(), 1e-9));
    }

    /** (p - 1) (f + b - w), where the parts of backward take a second each (arXiv:2401.10241, table 1). */
    @Test
    void splitBackwardFillsTwoThirdsOfTheBubble() {
        Result r = run(stages(Schedule.ZB_H1, 4, 12, 1));
        assertEquals(12 * 3.0 + 3, r.stepSeconds(), 1e-9);
    }

    /** Forward takes 1 / numChunks seconds, backward twice that, messages nothing. */
    static List<List<Task>> stages(Schedule schedule, int numStages, int numMicroBatches, int numChunks) {
        List<List<Task>> stages = new ArrayList<>();
        for (int stage = 0; stage < numStages; stage++) {
            List<Task> tasks = new ArrayList<>();
            for (Action action : schedule.actions(stage, numStages, numMicroBatches, numChunks)) {
                Transfer.before(action, stage, numStages, numChunks).ifPresent(t -> {
                    tasks.add(message(t));
                    tasks.add(new Wait(t.toString()));
                });
                double work =
                        switch (action.phase()) {
                            case FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT -> 1;
                            case BACKWARD -> 2;
                            case UPDATE -> 0;
                        };
                tasks.add(new Compute(action.toString(), work / numChunks));
                Transfer.after(action, stage, numStages, numChunks).ifPresent(t -> tasks.add(message(t)));
            }
            stages.add(tasks);
        }
        return stages;
    }

    private static Start message(Transfer t) {
        String link = t.fromStage() + ">" + t.toStage() + t.payload();
        return new Start(t.toString(), t.toString(), "pp", 0, 0, new Meeting(t.toString(), link, 2));
    }
}
