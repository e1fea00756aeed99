package io.brazier.tests.parity;

import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Whole arrays of parameters, put together of what ranks keep; those who keep the same elements must agree to the last bit. */
final class Kept {
    /** What a checkpoint holds. */
    static final List<State> SAVED = List.of(State.WEIGHT, State.FIRST_MOMENT, State.SECOND_MOMENT);

    private final Map<State, Map<String, float[]>> arrays = new EnumMap<>(State.class);

    Kept(List<State> states) {
        states.forEach(state -> arrays.put(state, new TreeMap<>()));
    }

    synchronized void add(TrainingEngine engine) {
        arrays.forEach((state, whole) -> {
            for (Parameter p : engine.parameters()) {
                float[] mine = new float[(int) p.numElements()];
                engine.read(p, state, 0, FloatBuffer.wrap(mine));
                float[] values = whole.computeIfAbsent(
                        p.name(), k -> nothing(p.shard().global().numElements()));
                p.forEachRun(0, mine.length, (global, local, count) -> {
                    for (int i = 0; i < count; i++) {
                        put(p.name() + " " + state, values, (int) global + i, mine[(int) local + i]);
                    }
                });
            }
        });
    }

    private static float[] nothing(long numElements) {
        float[] empty = new float[(int) numElements];
        Arrays.fill(empty, Float.NaN);
        return empty;
    }

    private static void put(String name, float[] whole, int at, float value) {
        if (Float.isNaN(value) || !Float.isNaN(whole[at]) && whole[at] != value) {
            throw new AssertionError(name + "[" + at + "] is " + value + " on one rank, " + whole[at] + " on another");
        }
        whole[at] = value;
    }

    /** The arrays of a state by parameter. */
    synchronized Map<String, float[]> whole(State state) {
        arrays.get(state).forEach((name, values) -> {
            for (float value : values) {
                if (Float.isNaN(value)) {
                    throw new AssertionError("nobody keeps all of " + name);
                }
            }
        });
        return arrays.get(state);
    }

    /** The arrays of all states by parameter and state. */
    synchronized Map<String, float[]> whole() {
        Map<String, float[]> all = new TreeMap<>();
        arrays.keySet().forEach(state -> whole(state).forEach((name, values) -> all.put(name + " " + state, values)));
        return all;
    }
}
