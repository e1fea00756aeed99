package io.brazier.cpu;

import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuNormTest {
    private static final float EPS = 1e-5f;

    /** Operands and, by plain double loops, results. */
    private static final class Case {
        final int rows;
        final int width;
        final float[] x;
        final float[] gamma;
        final float[] beta;
        final float[] dy;
        final double[] mean;
        final double[] rstd;
        final double[] y;
        final double[] dx;
        final double[] dgamma;
        final double[] dbeta;

        Case(int rows, int width) {
            this.rows = rows;
            this.width = width;
            Random random = new Random(rows);
            x = floats(random, rows * width, 3, 5);
            gamma = floats(random, width, 1, 0);
            beta = floats(random, width, 1, 0);
            dy = floats(random, rows * width, 1, 0);
            mean = new double[rows];
            rstd = new double[rows];
            y = new double[rows * width];
            dx = new double[rows * width];
            dgamma = new double[width];
            dbeta = new double[width];
            for (int row = 0; row < rows; row++) {
                solve(row);
            }
        }

        private static float[] floats(Random random, int count, double deviation, double mean) {
            float[] values = new float[count];
            for (int i = 0; i < count; i++) {
                values[i] = (float) (deviation * random.nextGaussian() + mean);
            }
            return values;
        }

        private void solve(int row) {
            int first = row * width;
            double m = IntStream.range(0, width)
                    .mapToDouble(i -> x[first + i])
                    .average()
                    .orElseThrow();
            double variance = IntStream.range(0, width)
                    .mapToDouble(i -> Math.pow(x[first + i] - m, 2))
                    .average()
                    .orElseThrow();
            double r = 1 / Math.sqrt(variance + EPS);
            mean[row] = m;
            rstd[row] = r;
            double g = 0;
            double gx = 0;
            for (int i = 0; i < width; i++) {
                double hat = (x[first + i] - m) * r;
                y[first + i] = hat * gamma[i] + beta[i];
                g += (double) dy[first + i] * gamma[i] / width;
                gx += (double) dy[first + i] * gamma[i] * hat / width;
                dgamma[i] += dy[first + i] * hat;
                dbeta[i] += dy[first + i];
            }
            for (int i = 0; i < width; i++) {
                double hat = (x[first + i] - m) * r;
                dx[first + i] = r * ((double) dy[first + i] * gamma[i] - g - hat * gx);
            }
        }
    }

    private static double[] plus(double[] a, float[] b) {
        return IntStream.range(0, a.length).mapToDouble(i -> a[i] + b[i]).toArray();
    }

    @ParameterizedTest
    @CsvSource({"1,3", "3,5", "7,64", "65,100", "40,768", "300,257"})
    void forwardAndInputGradient(int rows, int width) {
        try (NativeArena arena = new NativeArena(rows)) {
            CpuNative.setNumThreads(2);
            Case c = new Case(rows, width);
            long x = arena.floats(c.x);
            long gamma = arena.floats(c.gamma);
            long dy = arena.floats(c.dy);
            long y = arena.output(rows * width);
            long mean = arena.output(rows);
            long rstd = arena.output(rows);
            CpuNative.layerNorm(x, gamma, arena.floats(c.beta), y, mean, rstd, rows, width, EPS);
            arena.check("mean", c.mean, mean, 1e-6);
            arena.check("rstd", c.rstd, rstd, 1e-6);
            arena.check("y", c.y, y, 2e-6);
            long dx = arena.output(rows * width);
            CpuNative.layerNormGradInput(x, dy, gamma, mean, rstd, 0, dx, rows, width);
            arena.check("dx", c.dx, dx, 1e-5);
            float[] addend = arena.normal(rows * width, 1);
            long inPlace = arena.floats(addend);
            CpuNative.layerNormGradInput(x, dy, gamma, mean, rstd, inPlace, inPlace, rows, width);
            arena.check("dx on top of its addend", plus(c.dx, addend), inPlace, 1e-5);
            CpuNative.layerNormGradInput(x, dy, gamma, mean, rstd, 0, dy, rows, width);
            arena.checkSame("dx over dy", arena.read(dx, rows * width), dy);
        }
    }

    @ParameterizedTest
    @CsvSource({"1,3", "3,5", "7,64", "65,100", "40,768", "300,257"})
    void parameterGradientsAndColumnSums(int rows, int width) {
        try (NativeArena arena = new NativeArena(rows)) {
            CpuNative.setNumThreads(2);
            Case c = new Case(rows, width);
            long x = arena.floats(c.x);
            long dy = arena.floats(c.dy);
            long y = arena.output(rows * width);
            long mean = arena.output(rows);
            long rstd = arena.output(rows);
            long gamma = arena.floats(c.gamma);
            CpuNative.layerNorm(x, gamma, gamma, y, mean, rstd, rows, width, EPS);
            long dgamma = arena.floats(c.beta);
            long dbeta = arena.output(width);
            CpuNative.layerNormGradParameters(x, dy, mean, rstd, dgamma, 0, dgamma, dbeta, rows, width);
            arena.check("dgamma on top of its addend", plus(c.dgamma, c.beta), dgamma, 1e-5);
            arena.check("dbeta", c.dbeta, dbeta, 1e-5);
            CpuNative.layerNormGradParameters(x, dy, mean, rstd, 0, gamma, dgamma, dbeta, rows, width);
            arena.check("dgamma", c.dgamma, dgamma, 1e-5);
            arena.check("dbeta with addend", plus(c.dbeta, c.gamma), dbeta, 1e-5);
            long sums = arena.output(width);
            CpuNative.sumRows(dy, 0, sums, rows, width);
            arena.check("sumRows", c.dbeta, sums, 1e-5);
            CpuNative.sumRows(dy, gamma, gamma, rows, width);
            arena.check("sumRows on top of its addend", plus(c.dbeta, c.gamma), gamma, 1e-5);
        }
    }
}
