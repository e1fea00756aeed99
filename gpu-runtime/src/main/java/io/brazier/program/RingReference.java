package io.brazier.program;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Ring.Mask;
import io.brazier.tensor.Shape;
import java.util.List;

/** The plain references of {@link Ring}'s ops: one query at a time. */
final class RingReference {
    private RingReference() {}

    private interface Visitor {
        /** Query t of head h of sample b; q, kv and o are offsets of its row, first key and output. */
        void visit(int q, int kv, int o, int lse);
    }

    static double[] pack(Heads heads, Shape qkv, double[] x) {
        int width = (int) heads.keyValues();
        double[] kv = new double[(int) qkv.rows() * width];
        for (int row = 0; row < qkv.rows(); row++) {
            System.arraycopy(x, (int) (row * heads.fused() + heads.output()), kv, row * width, width);
        }
        return kv;
    }

    static double[] join(Heads heads, Shape qkv, List<double[]> in) {
        double[] sum = in.get(0).clone();
        for (int row = 0; row < qkv.rows(); row++) {
            for (int i = 0; i < heads.fused(); i++) {
                boolean query = i < heads.output();
                long width = query ? heads.output() : heads.keyValues();
                int column = (int) (query ? i : i - heads.output());
                sum[(int) (row * heads.fused() + i)] += in.get(query ? 1 : 2)[(int) (row * width + column)];
            }
        }
        return sum;
    }

    static List<double[]> block(Heads heads, Mask mask, Shape qkv, List<double[]> in) {
        double[] o = in.get(2).clone();
        double[] lse = in.get(3).clone();
        visit(heads, mask, qkv, (q, kv, out, row) -> {
            double[] scores = scores(heads, mask, qkv, in, q, kv);
            double sum = Math.exp(lse[row]);
            double old = sum;
            for (double score : scores) {
                sum += Math.exp(score);
            }
            for (int i = 0; i < heads.width(); i++) {
                o[out + i] *= old / sum;
                for (int u = 0; u < scores.length; u++) {
                    o[out + i] += Math.exp(scores[u]) / sum * in.get(1)[value(heads, kv, u) + i];
                }
            }
            lse[row] = Math.log(sum);
        });
        return List.of(o, lse);
    }

    static List<double[]> blockGrad(Heads heads, Mask mask, Shape qkv, List<double[]> in) {
        double[] dO = in.get(4);
        double[] dq = in.size() > 5 ? in.get(5).clone() : new double[in.get(2).length];
        double[] dkv = new double[in.get(1).length];
        visit(heads, mask, qkv, (q, kv, out, row) -> {
            double[] scores = scores(heads, mask, qkv, in, q, kv);
            double delta = dot(dO, out, in.get(2), out, heads.width());
            for (int u = 0; u < scores.length; u++) {
                int k = key(heads, kv, u);
                int v = value(heads, kv, u);
                double p = Math.exp(scores[u] - in.get(3)[row]);
                double ds = p * (dot(dO, out, in.get(1), v, heads.width()) - delta) * heads.scale();
                for (int i = 0; i < heads.width(); i++) {
                    dq[out + i] += ds * in.get(1)[k + i];
                    dkv[k + i] += ds * in.get(0)[q + i];
                    dkv[v + i] += p * dO[out + i];
                }
            }
        });
        return List.of(dq, dkv);
    }

    private static void visit(Heads heads, Mask mask, Shape qkv, Visitor visitor) {
        int numTokens = (int) qkv.dim(1);
        for (int b = 0; b < qkv.dim(0); b++) {
            for (int h = 0; h < heads.heads(); h++) {
                int group = h / (heads.heads() / heads.groups());
                int kv = (int) (b * numTokens * heads.keyValues()) + group * heads.width();
                for (int t = (int) mask.firstQuery(numTokens); t < numTokens; t++) {
                    int row = b * numTokens + t;
                    visitor.visit(
                            (int) (row * heads.fused()) + h * heads.width(),
                            kv,
                            (int) (row * heads.output()) + h * heads.width(),
                            (b * heads.heads() + h) * numTokens + t);
                }
            }
        }
    }

    private static double[] scores(Heads heads, Mask mask, Shape qkv, List<double[]> in, int q, int kv) {
        double[] scores = new double[(int) mask.numKeys(qkv.dim(1))];
        for (int u = 0; u < scores.length; u++) {
            scores[u] = heads.scale() * dot(in.get(0), q, in.get(1), key(heads, kv, u), heads.width());
        }
        return scores;
    }

    private static int key(Heads heads, int kv, int token) {
        return (int) (kv + token * heads.keyValues());
    }

    private static int value(Heads heads, int kv, int token) {
        return key(heads, kv, token) + heads.groups() * heads.width();
    }

    private static double dot(double[] a, int at, double[] b, int bt, int count) {
        double sum = 0;
        for (int i = 0; i < count; i++) {
            sum += a[at + i] * b[bt + i];
        }
        return sum;
    }
}
