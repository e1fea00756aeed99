package io.brazier.tests.parity;

import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import java.util.stream.IntStream;

/**
 * A layer of SwiGLU experts and its losses, written as loops over tokens.
 *
 * @param capacity places for each expert on all ranks together
 * @param lossScale factor of the summed cross-entropy that takes the layer's outputs for logits
 * @param coefficient of the load-balancing loss
 */
record NaiveExperts(
        int tokens, int width, int hidden, int numExperts, int k, int capacity, double lossScale, double coefficient) {

    record Result(double loss, double dropped) {}

    /** Operands x [tokens, width], router [width, experts], up [experts, width, 2 hidden], down [experts, hidden, width]. */
    Map<String, double[]> draw(Random random) {
        Map<String, double[]> inputs = new LinkedHashMap<>();
        inputs.put("x", uniform(random, tokens * width));
        inputs.put("router", uniform(random, width * numExperts));
        inputs.put("up", uniform(random, numExperts * width * 2 * hidden));
        inputs.put("down", uniform(random, numExperts * hidden * width));
        return inputs;
    }

    private static double[] uniform(Random random, int count) {
        return random.doubles(count, -1, 1).map(v -> (float) v).toArray();
    }

    /** The loss of ranks that hold consecutive tokens, each with its part of the capacity. */
    Result loss(Map<String, double[]> in, int[] targets, int numRanks) {
        double[][] p = new double[tokens][];
        int[][] chosen = new int[tokens][];
        for (int t = 0; t < tokens; t++) {
            p[t] = softmax(times(row(in.get("x"), t, width), in.get("router"), 0, numExperts));
            double[] row = p[t];
            chosen[t] = IntStream.range(0, numExperts)
                    .boxed()
                    .sorted(Comparator.comparingDouble(e -> -row[e]))
                    .limit(k)
                    .mapToInt(e -> e)
                    .toArray();
        }
        boolean[][] kept = kept(chosen, numRanks);
        double loss = 0;
        double dropped = 0;
        double[] share = new double[numExperts];
        double[] mean = new double[numExperts];
        for (int t = 0; t < tokens; t++) {
            double[] y = new double[width];
            double chosenSum = 0;
            for (int e : chosen[t]) {
                chosenSum += p[t][e];
                share[e] += 1.0 / (k * tokens);
            }
            for (int j = 0; j < k; j++) {
                double gate = p[t][chosen[t][j]] / chosenSum;
                double[] out = expert(in, row(in.get("x"), t, width), chosen[t][j]);
                for (int i = 0; kept[t][j] && i < width; i++) {
                    y[i] += gate * out[i];
                }
                dropped += kept[t][j] ? 0 : 1;
            }
            loss -= lossScale * Math.log(softmax(y)[targets[t]]);
            for (int e = 0; e < numExperts; e++) {
                mean[e] += p[t][e] / tokens;
            }
        }
        for (int e = 0; e < numExperts; e++) {
            loss += coefficient * numExperts * share[e] * mean[e];
        }
        return new Result(loss, dropped);
    }

    private boolean[][] kept(int[][] chosen, int numRanks) {
        boolean[][] kept = new boolean[tokens][k];
        for (int rank = 0; rank < numRanks; rank++) {
            int[] free = new int[numExperts];
            Arrays.fill(free, capacity / numRanks);
            for (int j = 0; j < k; j++) {
                for (int t = rank * tokens / numRanks; t < (rank + 1) * tokens / numRanks; t++) {
                    kept[t][j] = free[chosen[t][j]]-- > 0;
                }
            }
        }
        return kept;
    }

    private double[] expert(Map<String, double[]> in, double[] x, int e) {
        double[] gateAndUp = times(x, in.get("up"), e * width * 2 * hidden, 2 * hidden);
        double[] h = new double[hidden];
        for (int i = 0; i < hidden; i++) {
            h[i] = gateAndUp[i] / (1 + Math.exp(-gateAndUp[i])) * gateAndUp[hidden + i];
        }
        return times(h, in.get("down"), e * hidden * width, width);
    }

    private static double[] times(double[] x, double[] w, int from, int columns) {
        double[] y = new double[columns];
        for (int i = 0; i < x.length; i++) {
            for (int c = 0; c < columns; c++) {
                y[c] += x[i] * w[from + i * columns + c];
            }
        }
        return y;
    }

    private static double[] softmax(double[] x) {
        double total = Arrays.stream(x).map(Math::exp).sum();
        return Arrays.stream(x).map(v -> Math.exp(v) / total).toArray();
    }

    private static double[] row(double[] x, int row, int width) {
        return Arrays.copyOfRange(x, row * width, (row + 1) * width);
    }
}
