package io.brazier.cpu;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuNormTest {

    /** Mean, rstd and y of one row in double. */
    private static double[] moments(float[] x, int row, int width, double eps) {
        double mean = 0;
        for (int i = 0; i < width; i++) {
            mean += x[row * width + i] / (double) width;
        }
        double variance = 0;
        for (int i = 0; i < width; i++) {
            variance += Math.pow(x[row * width + i] - mean, 2) / width;
        }
        return new double[] {mean, 1 / Math.sqrt(variance + eps)};
    }

    @ParameterizedTest
    @CsvSource({"1,3", "3,5", "7,64", "65,100", "40,768", "300,257"})
    void agreesWithPlainLoops(int rows, int width) {
        try (NativeArena arena = new NativeArena(rows)) {
            CpuNative.setNumThreads(2);
            float eps = 1e-5f;
            float[] x = arena.normal(rows * width, 3);
            for (int i = 0; i < x.length; i++) {
                x[i] += 5;
            }
            float[] gamma = arena.normal(width, 1);
            float[] beta = arena.normal(width, 1);
            float[] dy = arena.normal(rows * width, 1);
            float[] plus = arena.normal(rows * width, 1);
            float[] oldGamma = arena.normal(width, 1);
            double[] mean = new double[rows];
            double[] rstd = new double[rows];
            double[] y = new double[rows * width];
            double[] dx = new double[rows * width];
            double[] dxPlus = new double[rows * width];
            double[] dgamma = new double[width];
            double[] dbeta = new double[width];
            for (int r = 0; r < rows; r++) {
                double[] m = moments(x, r, width, eps);
                mean[r] = m[0];
                rstd[r] = m[1];
                double g = 0;
                double gx = 0;
                for (int i = 0; i < width; i++) {
                    int at = r * width + i;
                    double hat = (x[at] - m[0]) * m[1];
                    y[at] = hat * gamma[i] + beta[i];
                    g += (double) dy[at] * gamma[i] / width;
                    gx += (double) dy[at] * gamma[i] * hat / width;
                    dgamma[i] += dy[at] * hat;
                    dbeta[i] += dy[at];
                }
                for (int i = 0; i < width; i++) {
                    int at = r * width + i;
                    dx[at] = m[1] * ((double) dy[at] * gamma[i] - g - (x[at] - m[0]) * m[1] * gx);
                    dxPlus[at] = dx[at] + plus[at];
                }
            }
            long ax = arena.floats(x);
            long agamma = arena.floats(gamma);
            long ady = arena.floats(dy);
            long ay = arena.output(rows * width);
            long amean = arena.output(rows);
            long arstd = arena.output(rows);
            CpuNative.layerNorm(ax, agamma, arena.floats(beta), ay, amean, arstd, rows, width, eps);
            arena.check("mean", mean, amean, 1e-6);
            arena.check("rstd", rstd, arstd, 1e-6);
            arena.check("y", y, ay, 2e-6);
            long adx = arena.output(rows * width);
            CpuNative.layerNormGradInput(ax, ady, agamma, amean, arstd, 0, adx, rows, width);
            arena.check("dx", dx, adx, 1e-5);
            long aplus = arena.floats(plus);
            CpuNative.layerNormGradInput(ax, ady, agamma, amean, arstd, aplus, aplus, rows, width);
            arena.check("dx + addend in place", dxPlus, aplus, 1e-5);
            long adgamma = arena.floats(oldGamma);
            long adbeta = arena.output(width);
            CpuNative.layerNormGradParameters(ax, ady, amean, arstd, adgamma, 0, adgamma, adbeta, rows, width);
            double[] sumGamma = dgamma.clone();
            for (int i = 0; i < width; i++) {
                sumGamma[i] += oldGamma[i];
            }
            arena.check("dgamma", sumGamma, adgamma, 1e-5);
            arena.check("dbeta", dbeta, adbeta, 1e-5);
            CpuNative.layerNormGradParameters(ax, ady, amean, arstd, 0, agamma, adgamma, adbeta, rows, width);
            arena.check("dgamma alone", dgamma, adgamma, 1e-5);
            double[] sumBeta = dbeta.clone();
            for (int i = 0; i < width; i++) {
                sumBeta[i] += gamma[i];
            }
            arena.check("dbeta with addend", sumBeta, adbeta, 1e-5);
            long sums = arena.output(width);
            CpuNative.sumRows(ady, 0, sums, rows, width);
            arena.check("sumRows", dbeta, sums, 1e-5);
            CpuNative.sumRows(ady, sums, sums, rows, width);
            for (int i = 0; i < width; i++) {
                dbeta[i] *= 2;
            }
            arena.check("sumRows twice", dbeta, sums, 1e-5);
            CpuNative.layerNormGradInput(ax, ady, agamma, amean, arstd, 0, ady, rows, width);
            arena.checkSame("dx over dy", arena.read(adx, rows * width), ady);
        }
    }
}
