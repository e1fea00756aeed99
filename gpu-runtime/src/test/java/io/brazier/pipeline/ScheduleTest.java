package io.brazier.pipeline;

import static io.brazier.pipeline.Schedule.GPIPE;
import static io.brazier.pipeline.Schedule.INTERLEAVED;
import static io.brazier.pipeline.Schedule.ONE_F_ONE_B;
import static io.brazier.pipeline.Schedule.ZB_H1;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.pipeline.Action.Phase;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Random;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;

/** The schedules against the closed forms and figures of their papers. */
class ScheduleTest {
    private static final Timeline.Uniform EQUAL = new Timeline.Uniform(1, 2, 1, 1, 0);

    private static Timeline run(Schedule schedule, int numStages, int numMicroBatches, int chunks, Timeline.Cost cost) {
        return Timeline.of(schedule.allActions(numStages, numMicroBatches, chunks), cost);
    }

    private static String text(List<Action> actions) {
        return actions.stream().map(Action::toString).collect(Collectors.joining(" "));
    }

    @ParameterizedTest
    @EnumSource(Schedule.class)
    void oneStageAccumulates(Schedule schedule) {
        assertEquals("F0 B0 F1 B1 F2 B2 U2", text(schedule.actions(0, 1, 3, 1)));
    }

    @Test
    void listsReadAsInThePapers() {
        assertEquals("F0 F1 F2 B0 B1 B2 U2", text(GPIPE.actions(1, 2, 3, 1)));
        assertEquals("F0 F1 F2 B0 F3 B1 B2 B3 U3", text(ONE_F_ONE_B.actions(1, 4, 4, 1)));
        assertEquals(
                "F0 F1 F0.1 F1.1 F2 B0.1 F3 B1.1 F2.1 B0 F3.1 B1 B2.1 B3.1 B2 B3 U3",
                text(INTERLEAVED.actions(0, 2, 4, 2)));
        assertEquals("F0 b0 F1 b1 w0 F2 b2 w1 w2 U2", text(ZB_H1.actions(1, 2, 3, 1)));
    }

    @Test
    void figuresAreDrawn() {
        assertEquals(
                """
                stage 0 | F0 F1 F2  .  .  .  . B0 B0 F3 B1 B1  . B2 B2  . B3 B3
                stage 1 |  . F0 F1  .  . B0 B0 F2 B1 B1 F3 B2 B2  . B3 B3  .  .
                stage 2 |  .  . F0 B0 B0 F1 B1 B1 F2 B2 B2 F3 B3 B3  .  .  .  .
                """,
                run(ONE_F_ONE_B, 3, 4, 1, EQUAL).draw(1, 100));
        assertEquals(
                """
                stage 0 | F0 F1  . b0 w0 F2 b1 w1 b2 w2
                stage 1 |  . F0 b0 F1 b1 w0 F2 b2 w1 w2
                """,
                run(ZB_H1, 2, 3, 1, EQUAL).draw(1, 100));
        assertEquals(
                """
                stage 0 |  F0  F1 F0b F1b   . ..
                stage 1 |   .  F0  F1 F0b B0b ..
                """,
                run(INTERLEAVED, 2, 2, 2, EQUAL).draw(1, 5));
    }

    @ParameterizedTest
    @CsvSource({"2, 2", "2, 7", "4, 4", "4, 16", "8, 64", "5, 3", "16, 2"})
    void bubbleOfGpipeAnd1f1b(int p, int m) {
        for (Schedule schedule : List.of(GPIPE, ONE_F_ONE_B)) {
            for (double backward : new double[] {0.5, 1, 2, 3.25}) {
                Timeline.Uniform cost = new Timeline.Uniform(1, backward, 0, 0, 0);
                assertEquals(
                        (p - 1.0) / (m + p - 1),
                        run(schedule, p, m, 1, cost).bubble(),
                        1e-12,
                        schedule + " " + backward);
            }
        }
    }

    /** Sec. 2.2 of the interleaved paper: (p - 1) (tf + tb) / v beside m (tf + tb) of work. */
    @ParameterizedTest
    @CsvSource({"2, 2, 2", "2, 8, 2", "4, 4, 2", "4, 8, 3", "4, 32, 4", "8, 16, 2", "3, 9, 5", "8, 8, 4"})
    void bubbleOfInterleavedIsDividedByChunks(int p, int m, int v) {
        for (double backward : new double[] {1, 2, 3}) {
            Timeline.Uniform cost = new Timeline.Uniform(1.0 / v, backward / v, 0, 0, 0);
            double bubble = (p - 1.0) / v;
            assertEquals(bubble / (m + bubble), run(INTERLEAVED, p, m, v, cost).bubble(), 1e-12);
        }
    }

    /** Table 1 of the zero bubble paper: (p - 1) (tf + tb - tw), a third of that of 1F1B where the three are equal. */
    @ParameterizedTest
    @CsvSource({"2, 2", "2, 7", "4, 4", "4, 16", "8, 64", "5, 9"})
    void bubbleOfZbH1(int p, int m) {
        Timeline zb = run(ZB_H1, p, m, 1, EQUAL);
        assertEquals(3.0 * m + p - 1, zb.seconds(), 1e-9, zb.draw(1, 200));
        assertEquals(3.0 * m + 3 * (p - 1), run(ONE_F_ONE_B, p, m, 1, EQUAL).seconds(), 1e-9);
    }

    @ParameterizedTest
    @CsvSource({"2, 7", "4, 16", "8, 8", "8, 3"})
    void stashes(int p, int m) {
        Timeline gpipe = run(GPIPE, p, m, 1, EQUAL);
        Timeline oneF = run(ONE_F_ONE_B, p, m, 1, EQUAL);
        Timeline zb = run(ZB_H1, p, m, 1, EQUAL);
        for (int s = 0; s < p; s++) {
            assertEquals(m, gpipe.maxInFlight(s, 0));
            assertEquals(Math.min(p - s, m), oneF.maxInFlight(s, 0));
            assertEquals(Math.min(p, m), zb.maxInFlight(s, 0));
        }
    }

    @Test
    void randomLayoutsHoldTheInvariants() {
        Random random = new Random(11);
        for (int n = 0; n < 200; n++) {
            Schedule schedule = Schedule.values()[random.nextInt(4)];
            int p = 1 + random.nextInt(9);
            int v = schedule == INTERLEAVED && p > 1 ? 1 + random.nextInt(4) : 1;
            int m = schedule == INTERLEAVED ? p * (1 + random.nextInt(4)) : 1 + random.nextInt(20);
            String layout = schedule + " p " + p + " m " + m + " v " + v;
            List<List<Action>> lists = schedule.allActions(p, m, v);
            Timeline timeline = Timeline.of(
                    lists,
                    new Timeline.Uniform(
                            random.nextDouble(),
                            random.nextDouble(),
                            random.nextDouble(),
                            random.nextDouble(),
                            random.nextDouble()));
            int numMessages = 0;
            for (int s = 0; s < p; s++) {
                for (int c = 0; c < v; c++) {
                    inOrder(lists.get(s), c, m, layout);
                    slotsAreDisjoint(lists.get(s), c, layout);
                }
                for (int to = 0; to < p; to++) {
                    numMessages += Transfer.channel(lists, s, to).size();
                }
                assertEquals(
                        lists.get(s),
                        timeline.stages().get(s).stream()
                                .map(Timeline.Span::action)
                                .toList());
            }
            assertEquals(2 * m * (p * v - 1), numMessages, layout);
        }
    }

    /** Gradients are summed in the order of one rank. */
    private static void inOrder(List<Action> list, int chunk, int m, String layout) {
        List<Integer> order = new ArrayList<>();
        list.stream()
                .filter(a -> a.chunk() == chunk && a.phase().endsMicroBatch())
                .forEach(a -> order.add(a.microBatch()));
        assertEquals(m, order.size(), layout);
        for (int x = 0; x < m; x++) {
            assertEquals(x, order.get(x), layout);
        }
    }

    private static void slotsAreDisjoint(List<Action> list, int chunk, String layout) {
        Slots slots = Slots.of(list);
        Set<Integer> held = new HashSet<>();
        for (Action a : list) {
            if (a.chunk() == chunk && a.phase() == Phase.FORWARD) {
                assertTrue(held.add(slots.slot(chunk, a.microBatch())), layout + " " + a);
                assertTrue(slots.slot(chunk, a.microBatch()) < slots.count(chunk), layout + " " + a);
            } else if (a.chunk() == chunk && a.phase().endsMicroBatch()) {
                assertTrue(held.remove(slots.slot(chunk, a.microBatch())), layout + " " + a);
            }
        }
    }

    @Test
    void transfersTakeTimeButNoWork() {
        Timeline slow = run(GPIPE, 2, 1, 1, new Timeline.Uniform(1, 2, 0, 0, 5));
        assertEquals(16, slow.seconds(), 1e-12);
        assertEquals(13 / 16.0, slow.bubble(0), 1e-12);
    }

    @Test
    void deadlockIsRefused() {
        Action f0 = new Action(Phase.FORWARD, 0, 0);
        Action f1 = new Action(Phase.FORWARD, 0, 1);
        Action b0 = new Action(Phase.BACKWARD, 0, 0);
        Action b1 = new Action(Phase.BACKWARD, 0, 1);
        Action u = new Action(Phase.UPDATE, 0, 1);
        List<List<Action>> lists = List.of(List.of(f0, b0, f1, b1, u), List.of(f0, f1, b0, b1, u));
        assertEquals(
                "schedule: the stages wait for each other: "
                        + "stage 0 cannot start B0 before gradient 0 from stage 1 to stage 0; "
                        + "stage 1 cannot start F1 before activation 1 from stage 0 to stage 1",
                assertThrows(IllegalArgumentException.class, () -> Timeline.of(lists, EQUAL))
                        .getMessage());
        List<List<Action>> swapped = List.of(List.of(f1, f0, b0, b1, u), List.of(f0, f1, b0, b1, u));
        assertEquals(
                "schedule: message 0 of stage 0 to stage 1 is activation 1 from stage 0 to stage 1, "
                        + "but the receiver expects activation 0 from stage 0 to stage 1",
                assertThrows(IllegalArgumentException.class, () -> Transfer.channel(swapped, 0, 1))
                        .getMessage());
    }

    @Test
    void incompleteListsAreRefused() {
        Action f = new Action(Phase.FORWARD, 0, 0);
        Action b = new Action(Phase.BACKWARD, 0, 0);
        Action input = new Action(Phase.BACKWARD_INPUT, 0, 0);
        Action weight = new Action(Phase.BACKWARD_WEIGHT, 0, 0);
        Action u = new Action(Phase.UPDATE, 0, 0);
        refused("B0 comes before its forward", b, f, u);
        refused("w0 comes before its input gradient", f, weight, u);
        refused("micro-batch 0 of chunk 0 has no complete backward", f, input, u);
        refused("b0 is a second backward of its micro-batch", f, b, input, u);
        refused("F0 comes twice", f, f, b, u);
        refused("B0 comes after the update", f, u, b);
        refused("the list does not end in an update", f, b);
        Slots.of(List.of(f, input, weight, u));
    }

    private static void refused(String why, Action... actions) {
        assertEquals(
                "schedule, stage 0: " + why,
                assertThrows(IllegalArgumentException.class, () -> Slots.of(List.of(actions)))
                        .getMessage());
    }

    @Test
    void violationsSayWhatToChange() {
        assertEquals(
                "interleaved: 6 micro-batches are no multiple of the 4 stages: use 8",
                INTERLEAVED.violation(4, 6, 2).orElseThrow());
        assertEquals(
                "1f1b has 1 chunk per stage, not 2: choose interleaved",
                ONE_F_ONE_B.violation(4, 8, 2).orElseThrow());
        assertTrue(INTERLEAVED.violation(1, 4, 2).isPresent());
        assertTrue(GPIPE.violation(0, 4, 1).isPresent());
        assertFalse(ZB_H1.violation(4, 2, 1).isPresent());
        assertThrows(IllegalArgumentException.class, () -> INTERLEAVED.actions(0, 4, 6, 2));
        assertThrows(IllegalArgumentException.class, () -> GPIPE.actions(4, 4, 6, 1));
        assertEquals(ZB_H1, Schedule.parse("zb-h1"));
        assertThrows(IllegalArgumentException.class, () -> Schedule.parse("dualpipe"));
    }
}
