package io.brazier.cpu;

import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CpuAttentionTest {

    private record Shape(int b, int t, int h, int hkv, int k) {
        int width() {
            return (h + 2 * hkv) * k;
        }

        int q(int row, int time, int head) {
            return (row * t + time) * width() + head * k;
        }

        int key(int row, int time, int head) {
            return q(row, time, h + head / (h / hkv));
        }

        int value(int row, int time, int head) {
            return key(row, time, head) + hkv * k;
        }

        int out(int row, int time, int head) {
            return ((row * t + time) * h + head) * k;
        }
    }

    private static double dot(float[] a, int at, float[] b, int bt, int count) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += (double) a[at + i] * b[bt + i];
        }
        return sum;
    }

    /** The probabilities of one query over keys 0 .. time, and in the last place the row's lse. */
    private static double[] probabilities(Shape s, float[] qkv, int row, int time, int head, double scale) {
        double[] p = new double[time + 2];
        double total = 0;
        for (int j = 0; j <= time; j++) {
            p[j] = Math.exp(scale * dot(qkv, s.q(row, time, head), qkv, s.key(row, j, head), s.k));
            total += p[j];
        }
        for (int j = 0; j <= time; j++) {
            p[j] /= total;
        }
        p[time + 1] = Math.log(total);
        return p;
    }

    private static double[] forward(Shape s, float[] qkv, double scale, double[] lse) {
        double[] o = new double[s.b * s.t * s.h * s.k];
        for (int row = 0; row < s.b; row++) {
            for (int head = 0; head < s.h; head++) {
                for (int time = 0; time < s.t; time++) {
                    double[] p = probabilities(s, qkv, row, time, head, scale);
                    lse[(row * s.h + head) * s.t + time] = p[time + 1];
                    for (int j = 0; j <= time; j++) {
                        for (int i = 0; i < s.k; i++) {
                            o[s.out(row, time, head) + i] += p[j] * qkv[s.value(row, j, head) + i];
                        }
                    }
                }
            }
        }
        return o;
    }

    private static double[] backward(Shape s, float[] qkv, double[] o, float[] gradO, double scale) {
        double[] d = new double[qkv.length];
        for (int row = 0; row < s.b; row++) {
            for (int head = 0; head < s.h; head++) {
                for (int time = 0; time < s.t; time++) {
                    double[] p = probabilities(s, qkv, row, time, head, scale);
                    int out = s.out(row, time, head);
                    int q = s.q(row, time, head);
                    double delta = 0;
                    for (int i = 0; i < s.k; i++) {
                        delta += o[out + i] * gradO[out + i];
                    }
                    for (int j = 0; j <= time; j++) {
                        int key = s.key(row, j, head);
                        int value = s.value(row, j, head);
                        double ds = p[j] * (dot(gradO, out, qkv, value, s.k) - delta) * scale;
                        for (int i = 0; i < s.k; i++) {
                            d[q + i] += ds * qkv[key + i];
                            d[key + i] += ds * qkv[q + i];
                            d[value + i] += p[j] * gradO[out + i];
                        }
                    }
                }
            }
        }
        return d;
    }

    @ParameterizedTest
    @CsvSource({
        "1,1,1,1,1,1",
        "2,5,3,3,4,2",
        "2,37,4,2,20,2",
        "1,64,2,2,64,1",
        "3,50,6,1,33,3",
        "1,130,2,1,128,2",
        "8,65,2,2,16,2"
    })
    void agreesWithPlainLoops(int b, int t, int h, int hkv, int k, int numThreads) {
        try (NativeArena arena = new NativeArena(t)) {
            CpuNative.setNumThreads(numThreads);
            Shape s = new Shape(b, t, h, hkv, k);
            float scale = (float) (1 / Math.sqrt(k));
            float[] qkv = arena.normal(b * t * s.width(), 1.5);
            float[] gradO = arena.normal(b * t * h * k, 1);
            double[] lse = new double[b * h * t];
            double[] o = forward(s, qkv, scale, lse);
            long aqkv = arena.floats(qkv);
            long ao = arena.output(b * t * h * k);
            long alse = arena.output(b * h * t);
            long scratch = arena.scratch(CpuNative.attentionScratchBytes(b, t, h, hkv, k, numThreads));
            CpuNative.attention(aqkv, ao, alse, scratch, b, t, h, hkv, k, scale);
            arena.check("o", o, ao, 3e-6);
            arena.check("lse", lse, alse, 2e-6);
            long ad = arena.output(qkv.length);
            long gradScratch = arena.scratch(CpuNative.attentionGradScratchBytes(b, t, h, hkv, k, numThreads));
            CpuNative.attentionGrad(aqkv, ao, alse, arena.floats(gradO), ad, gradScratch, b, t, h, hkv, k, scale);
            arena.check("dqkv", backward(s, qkv, o, gradO, scale), ad, 1e-5);
        }
    }

    /** Tokens fed in pieces, at different positions per row, see what one causal call over all of them shows. */
    @ParameterizedTest
    @CsvSource({"2,3,3,4,1", "2,4,2,20,1", "1,6,1,33,2", "2,2,2,130,2"})
    void cachedPiecesEqualOneCall(int b, int h, int hkv, int k, int numThreads) {
        try (NativeArena arena = new NativeArena(k)) {
            CpuNative.setNumThreads(numThreads);
            int[] pieces = {1, 2, 70, 1, 1, 30, 1};
            int total = 106;
            int maxT = total + 4;
            Shape s = new Shape(b, total, h, hkv, k);
            float scale = (float) (1 / Math.sqrt(k));
            float[] qkv = arena.normal(b * total * s.width(), 1.5);
            double[] o = forward(s, qkv, scale, new double[b * h * total]);
            long cacheK = arena.output(b * hkv * maxT * k);
            long cacheV = arena.output(b * hkv * maxT * k);
            int start = 0;
            for (int t : pieces) {
                float[] part = new float[b * t * s.width()];
                double[] expected = new double[b * t * h * k];
                int[] starts = new int[b];
                for (int row = 0; row < b; row++) {
                    starts[row] = start;
                    System.arraycopy(qkv, s.q(row, start, 0), part, row * t * s.width(), t * s.width());
                    System.arraycopy(o, s.out(row, start, 0), expected, row * t * h * k, t * h * k);
                }
                long out = arena.output(b * t * h * k);
                CpuNative.cachedAttention(
                        arena.floats(part), cacheK, cacheV, arena.ints(starts), out, b, t, h, hkv, k, maxT, scale);
                arena.check("cached from " + start, expected, out, 3e-6);
                start += t;
            }
        }
    }
}
