package io.brazier.tests.parity;

import io.brazier.exec.TrainingEngine;
import io.brazier.exec.TrainingEngine.Parameter;
import io.brazier.exec.TrainingEngine.State;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/** Whole parameters and moments, put together of what ranks keep; those who keep the same elements must agree to the last bit. */
final class Kept {
    static final List<String> STATES = List.of("WEIGHT", "FIRST_MOMENT", "SECOND_MOMENT");

    private final Map<String, Map<String, float[]>> arrays = new TreeMap<>();

    synchronized void add(TrainingEngine engine) {
        for (String state : STATES) {
            for (Parameter p : engine.parameters()) {
                float[] mine = new float[(int) p.numElements()];
                engine.read(p, State.valueOf(state), 0, FloatBuffer.wrap(mine));
                float[] whole = arrays.computeIfAbsent(state, k -> new TreeMap<>())
                        .computeIfAbsent(
                                p.name(), k -> nothing(p.shard().global().numElements()));
                p.forEachRun(0, mine.length, (global, local, count) -> {
                    for (int i = 0; i < count; i++) {
                        put(p.name() + " " + state, whole, (int) global + i, mine[(int) local + i]);
                    }
                });
            }
        }
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
    synchronized Map<String, float[]> whole(String state) {
        arrays.get(state).forEach((name, values) -> {
            for (float value : values) {
                if (Float.isNaN(value)) {
                    throw new AssertionError("nobody keeps all of " + name);
                }
            }
        });
        return arrays.get(state);
    }
}
