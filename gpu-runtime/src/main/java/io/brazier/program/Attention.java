package io.brazier.program;

import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.List;

/**
 * Causal attention over a fused projection. qkv [B, T, (H + 2 G) K] holds the heads of q, then of k, then of v; G key/value heads
 * serve H query heads (arXiv:2305.13245), G = H is multi-head attention.
 */
public sealed interface Attention extends Op
        permits Attention.CausalAttention,
                Attention.CausalAttentionGrad,
                Attention.CachedAttention,
                Rotary,
                Rotary.RotaryGrad {

    /**
     * @param heads H, query heads on this rank
     * @param groups G, key/value heads on this rank
     * @param width K, width of a head
     * @param scale of the scores, 1 / sqrt(K) as a rule
     */
    record Heads(int heads, int groups, int width, double scale) {
        public Heads {
            Rules.require(
                    heads > 0 && groups > 0 && width > 0 && heads % groups == 0,
                    "heads " + heads + " must be a multiple of key/value heads " + groups);
        }

        long fused() {
            return (long) (heads + 2 * groups) * width;
        }

        long output() {
            return (long) heads * width;
        }

        long keyValues() {
            return 2L * groups * width;
        }

        void check(TensorType qkv) {
            Rules.floating("qkv", qkv);
            Rules.require(
                    qkv.shape().rank() == 3 && qkv.shape().width() == fused(),
                    "qkv " + qkv + " must be [B, T, " + fused() + "] for " + this);
        }
    }

    /**
     * o = softmax(scale q k^T, causal) v; qkv -> o [B, T, H K], lse [B, H, T] (log of the softmax sums). No [T, T] matrix is
     * kept: backward recomputes the probabilities from q, k and lse (arXiv:2307.08691, sec. 3.1). Backward keeps qkv, o, lse.
     * Samples (S0) and heads (S2, lse S1) may be sharded.
     */
    record CausalAttention(Heads heads) implements Attention {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType qkv = in.get(0);
            heads.check(qkv);
            TensorType lse = TensorType.of(
                    DType.F32, qkv.shape().dim(0), heads.heads(), qkv.shape().dim(1));
            for (var e : qkv.placements().entrySet()) {
                Rules.require(
                        !e.getValue().equals(Placement.P) && !e.getValue().equals(Placement.shard(1)),
                        "qkv " + qkv + " must hold whole sequences on axis " + e.getKey());
                lse = lse.with(e.getKey(), e.getValue().equals(Placement.shard(2)) ? Placement.shard(1) : e.getValue());
            }
            return List.of(new TensorType(qkv.dtype(), qkv.shape().withWidth(heads.output()), qkv.placements()), lse);
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new CausalAttentionGrad(heads), g.input(0), g.output(0), g.output(1), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2 * causalPairs(in.get(0).shape()) * heads.output();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            Shape s = types.get(0).shape();
            int numTokens = (int) s.dim(1);
            double[] o = new double[(int) (s.rows() * heads.output())];
            double[] lse = new double[(int) (s.dim(0) * heads.heads() * numTokens)];
            for (int b = 0; b < s.dim(0); b++) {
                for (int h = 0; h < heads.heads(); h++) {
                    for (int t = 0; t < numTokens; t++) {
                        double[] scores = scores(in.get(0), numTokens, b, h, t);
                        double sum =
                                java.util.Arrays.stream(scores).map(Math::exp).sum();
                        lse[(b * heads.heads() + h) * numTokens + t] = Math.log(sum);
                        for (int u = 0; u <= t; u++) {
                            for (int i = 0; i < heads.width(); i++) {
                                o[(int) ((b * numTokens + t) * heads.output()) + h * heads.width() + i] +=
                                        Math.exp(scores[u]) / sum * in.get(0)[v(numTokens, b, h, u) + i];
                            }
                        }
                    }
                }
            }
            return List.of(o, lse);
        }

        private double[] scores(double[] qkv, int numTokens, int b, int h, int t) {
            double[] scores = new double[t + 1];
            for (int u = 0; u <= t; u++) {
                for (int i = 0; i < heads.width(); i++) {
                    scores[u] += qkv[q(numTokens, b, h, t) + i] * qkv[k(numTokens, b, h, u) + i];
                }
                scores[u] *= heads.scale();
            }
            return scores;
        }

        private int q(int numTokens, int b, int h, int t) {
            return (int) ((b * numTokens + t) * heads.fused()) + h * heads.width();
        }

        private int k(int numTokens, int b, int h, int t) {
            int group = h / (heads.heads() / heads.groups());
            return q(numTokens, b, heads.heads() + group, t);
        }

        private int v(int numTokens, int b, int h, int t) {
            return k(numTokens, b, h, t) + heads.groups() * heads.width();
        }
    }

    /** dqkv of {@link CausalAttention}; operands qkv, o, lse, dO (arXiv:2307.08691, alg. 2). */
    record CausalAttentionGrad(Heads heads) implements Attention {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            heads.check(in.get(0));
            Rules.dtype("o", in.get(1), in.get(0).dtype());
            Rules.dtype("lse", in.get(2), DType.F32);
            Rules.same("the gradient type of o", in.get(1).gradient(), "dO", in.get(3));
            return List.of(in.get(0).gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return 5 * causalPairs(in.get(0).shape()) * heads.output();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            Shape s = types.get(0).shape();
            int numTokens = (int) s.dim(1);
            CausalAttention forward = new CausalAttention(heads);
            double[] qkv = in.get(0);
            double[] dqkv = new double[qkv.length];
            int width = heads.width();
            for (int b = 0; b < s.dim(0); b++) {
                for (int h = 0; h < heads.heads(); h++) {
                    for (int t = 0; t < numTokens; t++) {
                        int row = (int) ((b * numTokens + t) * heads.output()) + h * width;
                        double[] scores = forward.scores(qkv, numTokens, b, h, t);
                        double lse = in.get(2)[(b * heads.heads() + h) * numTokens + t];
                        double delta = 0;
                        for (int i = 0; i < width; i++) {
                            delta += in.get(3)[row + i] * in.get(1)[row + i];
                        }
                        for (int u = 0; u <= t; u++) {
                            double p = Math.exp(scores[u] - lse);
                            int v = forward.v(numTokens, b, h, u);
                            double dp = 0;
                            for (int i = 0; i < width; i++) {
                                dp += in.get(3)[row + i] * qkv[v + i];
                                dqkv[v + i] += p * in.get(3)[row + i];
                            }
                            double ds = p * (dp - delta) * heads.scale();
                            int q = forward.q(numTokens, b, h, t);
                            int k = forward.k(numTokens, b, h, u);
                            for (int i = 0; i < width; i++) {
                                dqkv[q + i] += ds * qkv[k + i];
                                dqkv[k + i] += ds * qkv[q + i];
                            }
                        }
                    }
                }
            }
            return List.of(dqkv);
        }
    }

    /**
     * Attention of new tokens over a key/value cache. Operands qkv [B, T, (H + 2 G) K], cacheK and cacheV [B, G, M, K], starts i32
     * [B]. Row b writes its T keys and values at positions starts[b]..starts[b] + T - 1, then its token t attends to positions
     * 0..starts[b] + t. Outputs o [B, T, H K] and the caches, in place. starts[b] + T must not exceed M.
     */
    record CachedAttention(Heads heads) implements Attention {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 4);
            TensorType qkv = in.get(0);
            heads.check(qkv);
            Shape cache = in.get(1).shape();
            Rules.require(
                    cache.rank() == 4
                            && cache.dim(0) == qkv.shape().dim(0)
                            && cache.dim(1) == heads.groups()
                            && cache.dim(3) == heads.width(),
                    "cache " + in.get(1) + " must be [B, " + heads.groups() + ", M, " + heads.width() + "]");
            Rules.dtype("cacheK", in.get(1), qkv.dtype());
            Rules.same("cacheK", in.get(1), "cacheV", in.get(2));
            Rules.dtype("starts", in.get(3), DType.I32);
            Rules.shape("starts", in.get(3), qkv.shape().dim(0));
            return List.of(
                    new TensorType(qkv.dtype(), qkv.shape().withWidth(heads.output()), qkv.placements()),
                    in.get(1),
                    in.get(2));
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().rows() * in.get(1).shape().dim(2) * heads.output();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.required(1, 1), Alias.required(2, 2));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            Shape s = types.get(0).shape();
            int numTokens = (int) s.dim(1);
            int capacity = (int) types.get(1).shape().dim(2);
            int width = heads.width();
            double[] cacheK = in.get(1).clone();
            double[] cacheV = in.get(2).clone();
            CausalAttention layout = new CausalAttention(heads);
            double[] o = new double[(int) (s.rows() * heads.output())];
            int share = heads.heads() / heads.groups();
            for (int b = 0; b < s.dim(0); b++) {
                int start = (int) in.get(3)[b];
                for (int h = 0; h < heads.heads(); h++) {
                    int cache = (b * heads.groups() + h / share) * capacity * width;
                    for (int t = 0; t < numTokens; t++) {
                        int at = cache + (start + t) * width;
                        System.arraycopy(in.get(0), layout.k(numTokens, b, h, t), cacheK, at, width);
                        System.arraycopy(in.get(0), layout.v(numTokens, b, h, t), cacheV, at, width);
                        double[] weights = new double[start + t + 1];
                        double sum = 0;
                        for (int u = 0; u < weights.length; u++) {
                            double score = 0;
                            for (int i = 0; i < width; i++) {
                                score += in.get(0)[layout.q(numTokens, b, h, t) + i] * cacheK[cache + u * width + i];
                            }
                            weights[u] = Math.exp(score * heads.scale());
                            sum += weights[u];
                        }
                        for (int u = 0; u < weights.length; u++) {
                            for (int i = 0; i < width; i++) {
                                o[(int) ((b * numTokens + t) * heads.output()) + h * width + i] +=
                                        weights[u] / sum * cacheV[cache + u * width + i];
                            }
                        }
                    }
                }
            }
            return List.of(o, cacheK, cacheV);
        }
    }

    /** Multiply-adds pairs (query, key) that the causal mask leaves, times 2: B T (T + 1). */
    private static double causalPairs(Shape qkv) {
        return (double) qkv.dim(0) * qkv.dim(1) * (qkv.dim(1) + 1);
    }
}
