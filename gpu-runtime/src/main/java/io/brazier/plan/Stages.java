package io.brazier.plan;

import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;

/** Cuts a sequence of costs into contiguous parts whose largest sum is least. */
final class Stages {
    private Stages() {}

    /** The indices of each part; every part has at least one. */
    static List<List<Integer>> split(double[] costs, int numParts) {
        if (numParts < 1 || numParts > costs.length) {
            throw new IllegalArgumentException(costs.length + " pieces cannot fill " + numParts + " stages");
        }
        double[] sums = new double[costs.length + 1];
        for (int x = 0; x < costs.length; x++) {
            sums[x + 1] = sums[x] + costs[x];
        }
        double[][] largest = new double[numParts + 1][costs.length + 1];
        int[][] start = new int[numParts + 1][costs.length + 1];
        for (double[] row : largest) {
            java.util.Arrays.fill(row, Double.POSITIVE_INFINITY);
        }
        largest[0][0] = 0;
        for (int part = 1; part <= numParts; part++) {
            for (int end = part; end <= costs.length; end++) {
                for (int begin = part - 1; begin < end; begin++) {
                    double cost = Math.max(largest[part - 1][begin], sums[end] - sums[begin]);
                    if (cost < largest[part][end]) {
                        largest[part][end] = cost;
                        start[part][end] = begin;
                    }
                }
            }
        }
        List<List<Integer>> parts = new ArrayList<>();
        int end = costs.length;
        for (int part = numParts; part > 0; part--) {
            int begin = start[part][end];
            parts.add(0, IntStream.range(begin, end).boxed().toList());
            end = begin;
        }
        return parts;
    }
}
