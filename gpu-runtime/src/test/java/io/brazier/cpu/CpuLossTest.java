package io.brazier.cpu;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuLossTest {

    @ParameterizedTest
    @CsvSource({"1,1", "3,7", "5,50", "9,4096", "4,50257"})
    void crossEntropyAgreesWithPlainLoops(int rows, int v) {
        try (NativeArena arena = new NativeArena(v)) {
            CpuNative.setNumThreads(2);
            float[] logits = arena.normal(rows * v, 4);
            int[] targets = arena.integers(rows, v);
            if (rows > 1) {
                targets[1] = -1;
            }
            double scale = 0.125;
            double dloss = 3;
            double[] lse = new double[rows];
            double[] logLikelihood = new double[rows];
            double[] gradient = new double[rows * v];
            double loss = 0;
            for (int r = 0; r < rows; r++) {
                double sum = 0;
                for (int j = 0; j < v; j++) {
                    sum += Math.exp(logits[r * v + j]);
                }
                lse[r] = Math.log(sum);
                if (targets[r] < 0) {
                    continue;
                }
                logLikelihood[r] = logits[r * v + targets[r]] - lse[r];
                loss -= scale * logLikelihood[r];
                for (int j = 0; j < v; j++) {
                    double p = Math.exp(logits[r * v + j]) / sum;
                    gradient[r * v + j] = (p - (j == targets[r] ? 1 : 0)) * scale * dloss;
                }
            }
            long x = arena.floats(logits);
            long t = arena.ints(targets);
            long alse = arena.output(rows);
            long out = arena.output(1);
            CpuNative.crossEntropy(x, t, alse, out, rows, v, (float) scale, false);
            arena.check("lse", lse, alse, 1e-6);
            arena.check("loss", new double[] {loss}, out, 1e-6);
            CpuNative.crossEntropy(x, t, alse, out, rows, v, (float) scale, true);
            arena.check("loss twice", new double[] {2 * loss}, out, 1e-6);
            long scores = arena.output(rows);
            CpuNative.tokenLogLikelihood(x, t, scores, rows, v);
            arena.check("log likelihood", logLikelihood, scores, 1e-6);
            long d = arena.output(rows * v);
            long adloss = arena.floats((float) dloss);
            CpuNative.crossEntropyGrad(x, alse, t, adloss, d, rows, v, 0, (float) scale);
            arena.check("dlogits", gradient, d, 2e-6);
            CpuNative.crossEntropyGrad(x, alse, t, adloss, x, rows, v, 0, (float) scale);
            arena.checkSame("dlogits in place", arena.read(d, rows * v), x);
        }
    }

    @ParameterizedTest
    @CsvSource({"1,1,1", "5,7,3", "64,100,11", "300,768,50"})
    void embeddingAgreesWithPlainLoops(int rows, int width, int vocabulary) {
        try (NativeArena arena = new NativeArena(rows)) {
            CpuNative.setNumThreads(2);
            int[] tokens = arena.integers(rows, vocabulary);
            float[] table = arena.normal(vocabulary * width, 1);
            float[] dy = arena.normal(rows * width, 1);
            double[] y = new double[rows * width];
            double[] ySum = new double[rows * width];
            double[] dtable = new double[vocabulary * width];
            double[] dtableSum = new double[vocabulary * width];
            for (int i = 0; i < y.length; i++) {
                int from = tokens[i / width] * width + i % width;
                y[i] = table[from];
                ySum[i] = y[i] + dy[i];
                dtable[from] += dy[i];
            }
            for (int i = 0; i < dtable.length; i++) {
                dtableSum[i] = dtable[i] + table[i];
            }
            long t = arena.ints(tokens);
            long w = arena.floats(table);
            long g = arena.floats(dy);
            long out = arena.output(y.length);
            CpuNative.embedding(t, w, 0, out, rows, width, vocabulary, 0);
            arena.check("embedding", y, out, 0);
            long d = arena.output(dtable.length);
            CpuNative.embeddingGrad(t, g, d, rows, width, vocabulary, 0, false);
            arena.check("embeddingGrad", dtable, d, 1e-5);
            CpuNative.embeddingGrad(t, g, w, rows, width, vocabulary, 0, true);
            arena.check("embeddingGrad on top", dtableSum, w, 1e-5);
            CpuNative.embedding(t, arena.floats(table), g, g, rows, width, vocabulary, 0);
            arena.check("embedding with addend in place", ySum, g, 1e-7);
        }
    }
}
