package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

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

    private static Result run(double processorFraction, List<List<Task>> ranks) {
        Result result = Clock.run(ranks, processorFraction, (rank, stream, name, start, end) -> {});
        for (Usage usage : result.ranks()) {
            double exposed = usage.communication().values().stream()
                    .mapToDouble(Clock.Communication::exposed)
                    .sum();
            assertEquals(result.stepSeconds(), usage.computeSeconds() + exposed + usage.idleSeconds(), 1e-9);
        }
        return result;
    }

    private static Start start(String token, String stream, double seconds) {
        return new Start(token, token, stream, seconds, null);
    }

    @Test
    void communicationHidesBehindComputeUntilItIsAwaited() {
        Result r =
                run(0, List.of(List.of(new Compute("a", 2), start("g", "dp", 5), new Compute("b", 3), new Wait("g"))));
        assertEquals(7, r.stepSeconds(), EXACT);
        assertEquals(
                new Clock.Communication(5, 2), r.ranks().get(0).communication().get("dp"));
    }

    @Test
    void callsOfOneStreamFollowEachOtherAndStreamsRunSideBySide() {
        List<Task> one = List.of(start("a", "dp", 4), start("b", "dp", 3), new Wait("a"), new Wait("b"));
        assertEquals(7, run(0, List.of(one)).stepSeconds(), EXACT);
        List<Task> two = List.of(start("a", "dp", 4), start("b", "tp", 3), new Wait("a"), new Wait("b"));
        assertEquals(4, run(0, List.of(two)).stepSeconds(), EXACT);
    }

    @Test
    void computeIsSlowerWhileSomethingIsInFlight() {
        // 4 s in flight at 3/4 of the speed do 3 s of work; the remaining 2 run at full speed.
        Result r = run(0.25, List.of(List.of(start("g", "dp", 4), new Compute("a", 5), new Wait("g"))));
        assertEquals(6, r.stepSeconds(), EXACT);
        assertEquals(1, r.ranks().get(0).slowdownSeconds(), EXACT);
    }

    @Test
    void aMeetingBeginsWhenTheLastMemberArrives() {
        Start meet = new Start("m", "m", "pp", 2, new Meeting("m", "link m", 2));
        Result r = run(
                0,
                List.of(
                        List.of(new Compute("a", 1), meet, new Wait("m")),
                        List.of(new Compute("b", 5), meet, new Wait("m"))));
        assertEquals(7, r.stepSeconds(), EXACT);
        assertEquals(4, r.ranks().get(0).idleSeconds(), EXACT);
        assertEquals(2, r.ranks().get(0).communication().get("pp").exposed(), EXACT);
    }

    @Test
    void ranksThatWaitForEachOtherAreRefused() {
        Start a = new Start("a", "message a", "pp 0", 1, new Meeting("a", "link a", 2));
        Start b = new Start("b", "message b", "pp 1", 1, new Meeting("b", "link b", 2));
        IllegalArgumentException e = assertThrows(
                IllegalArgumentException.class,
                () -> run(0, List.of(List.of(a, new Wait("a"), b, new Wait("b")), List.of(b, new Wait("b"), a))));
        assertTrue(e.getMessage().contains("stage 0 waits for message a; stage 1 waits for message b"), e.getMessage());
    }

    /** GPipe and 1F1B: (m + p - 1) (f + b), a bubble of (p - 1) / (m + p - 1) (arXiv:2104.04473, sec. 2.2). */
    @ParameterizedTest
    @CsvSource({"1, 4", "2, 2", "4, 8", "8, 16", "16, 128"})
    void pipelinesHaveTheBubblesOfTheirFormulas(int numStages, int numMicroBatches) {
        for (boolean oneForwardOneBackward : new boolean[] {false, true}) {
            List<List<Task>> ranks = new ArrayList<>();
            for (int stage = 0; stage < numStages; stage++) {
                int warmUp = oneForwardOneBackward ? Math.min(numMicroBatches, numStages - stage) : numMicroBatches;
                ranks.add(stage(stage, numStages, numMicroBatches, warmUp));
            }
            Result r = run(0, ranks);
            assertEquals((numMicroBatches + numStages - 1) * 3.0, r.stepSeconds(), 1e-9);
            for (Usage usage : r.ranks()) {
                double bubble = (numStages - 1.0) / (numMicroBatches + numStages - 1);
                assertEquals(bubble, usage.idleSeconds() / r.stepSeconds(), 1e-9);
            }
        }
    }

    /** Forward takes 1 s, backward 2, transfers nothing. */
    private static List<Task> stage(int stage, int numStages, int numMicroBatches, int warmUp) {
        List<Task> tasks = new ArrayList<>();
        int forward = 0;
        for (int backward = 0; backward < numMicroBatches; backward++) {
            while (forward < numMicroBatches && forward < backward + warmUp) {
                receive(tasks, stage > 0, "F" + forward, stage - 1, stage);
                tasks.add(new Compute("F", 1));
                send(tasks, stage < numStages - 1, "F" + forward, stage, stage + 1);
                forward++;
            }
            receive(tasks, stage < numStages - 1, "B" + backward, stage + 1, stage);
            tasks.add(new Compute("B", 2));
            send(tasks, stage > 0, "B" + backward, stage, stage - 1);
        }
        return tasks;
    }

    private static void receive(List<Task> tasks, boolean there, String message, int from, int to) {
        send(tasks, there, message, from, to);
        if (there) {
            tasks.add(new Wait(message + from + ">" + to));
        }
    }

    private static void send(List<Task> tasks, boolean there, String message, int from, int to) {
        if (there) {
            String key = message + from + ">" + to;
            tasks.add(new Start(key, key, "pp", 0, new Meeting(key, from + ">" + to, 2)));
        }
    }
}
