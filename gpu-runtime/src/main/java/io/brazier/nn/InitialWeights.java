package io.brazier.nn;

import io.brazier.tensor.Philox;
import java.nio.FloatBuffer;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/**
 * The first weights of a model. Element e of a parameter is drawn from Philox with key seed and counter (e / 4, hash of the path), so
 * that it does not depend on layout; pairs of uniform draws become normal ones by Box and Muller's formula.
 */
public final class InitialWeights implements WeightSource {
    private final Map<String, ParameterSpec> specs = new HashMap<>();
    private final long seed;

    public InitialWeights(List<ParameterSpec> specs, long seed) {
        specs.forEach(spec -> this.specs.put(spec.name(), spec));
        this.seed = seed;
    }

    @Override
    public void read(String parameter, long offset, FloatBuffer target) {
        ParameterSpec spec = specs.get(parameter);
        switch (spec.init()) {
            case ZEROS -> fill(target, 0);
            case ONES -> fill(target, 1);
            case NORMAL -> normal(spec, offset, target);
        }
    }

    private static void fill(FloatBuffer target, float value) {
        while (target.hasRemaining()) {
            target.put(value);
        }
    }

    private void normal(ParameterSpec spec, long offset, FloatBuffer target) {
        int stream = spec.name().hashCode();
        double[] four = new double[4];
        long block = -1;
        for (long e = offset; target.hasRemaining(); e++) {
            if (e / 4 != block) {
                block = e / 4;
                int[] words = Philox.words((int) block, (int) (block >>> 32), 0, stream, seed);
                for (int pair = 0; pair < 4; pair += 2) {
                    double radius = Math.sqrt(-2 * Math.log(1 - Philox.uniform(words[pair])));
                    double angle = 2 * Math.PI * Philox.uniform(words[pair + 1]);
                    four[pair] = radius * Math.cos(angle);
                    four[pair + 1] = radius * Math.sin(angle);
                }
            }
            target.put((float) (spec.standardDeviation() * four[(int) (e % 4)]));
        }
    }
}
