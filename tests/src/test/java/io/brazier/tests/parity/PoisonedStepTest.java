package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;

import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import io.brazier.exec.TrainingEngine.StepOutcome;
import io.brazier.nn.GptConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.tensor.Mesh;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** A step that is not finite leaves weights and moments of all ranks as they were, and what is restored goes on undisturbed. */
class PoisonedStepTest {
    private static final Ranks RANKS = new Ranks(GptConfig.of(19, 16, 2, 2, 10), 8, 16, 0.1, 3);
    private static final String POISONED = "h.1.mlp.c_proj.weight";

    static Stream<Layout> layouts() {
        List<Layout> layouts = new ArrayList<>();
        for (int stage = 0; stage <= 3; stage++) {
            layouts.add(Layout.dataParallel(2).withZeroStage(stage));
            layouts.add(Layout.of(new Mesh(2, 2, 1, 1, 2)).withZeroStage(stage).withSequenceParallel());
        }
        for (Schedule schedule : Schedule.values()) {
            layouts.add(Layout.of(new Mesh(1, 2, 1, 1, 1)).withSchedule(schedule, 1));
        }
        layouts.add(Layout.of(new Mesh(1, 2, 2, 1, 2)).withRecompute(Recompute.FULL));
        return layouts.stream();
    }

    @ParameterizedTest
    @MethodSource("layouts")
    void isSkippedByAllRanks(Layout layout) {
        List<List<StepOutcome>> undisturbed = RANKS.onRanks(layout, 2, 1, (engine, rows) -> {
            List<StepOutcome> outcomes = new ArrayList<>();
            for (int step = 0; step < 3; step++) {
                outcomes.add(rows.train(engine, step));
            }
            return outcomes;
        });
        List<List<StepOutcome>> poisoned = RANKS.onRanks(layout, 2, 1, (engine, rows) -> {
            List<StepOutcome> outcomes = new ArrayList<>();
            outcomes.add(rows.train(engine, 0));
            List<float[]> before = state(engine);
            set(engine, Float.NaN);
            assertFalse(rows.train(engine, 1).updated());
            set(engine, before);
            List<float[]> after = state(engine);
            for (int x = 0; x < before.size(); x++) {
                assertArrayEquals(before.get(x), after.get(x));
            }
            outcomes.add(rows.train(engine, 1));
            outcomes.add(rows.train(engine, 2));
            return outcomes;
        });
        assertEquals(undisturbed, poisoned);
    }

    /** Weights and moments of what the rank keeps. */
    private static List<float[]> state(TrainingEngine engine) {
        List<float[]> all = new ArrayList<>();
        for (Parameter p : engine.parameters()) {
            for (State state : List.of(State.WEIGHT, State.FIRST_MOMENT, State.SECOND_MOMENT)) {
                float[] values = new float[(int) p.numElements()];
                engine.read(p, state, 0, FloatBuffer.wrap(values));
                all.add(values);
            }
        }
        return all;
    }

    private static void set(TrainingEngine engine, float value) {
        for (Parameter p : engine.parameters()) {
            if (p.name().equals(POISONED)) {
                engine.write(p, State.WEIGHT, 0, FloatBuffer.wrap(new float[] {value}));
            }
        }
        engine.publish();
    }

    private static void set(TrainingEngine engine, List<float[]> state) {
        List<Parameter> parameters = engine.parameters();
        for (int x = 0; x < parameters.size(); x++) {
            if (parameters.get(x).name().equals(POISONED)) {
                engine.write(parameters.get(x), State.WEIGHT, 0, FloatBuffer.wrap(state.get(3 * x)));
            }
        }
        engine.publish();
    }
}
