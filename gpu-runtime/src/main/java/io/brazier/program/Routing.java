package io.brazier.program;

import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A router's choice of experts for each token, N tokens in leading dims of any number, E experts in the last. Tokens may be sharded on
 * any axis; the experts of a token never are. What moves the tokens is {@link Experts}.
 */
public sealed interface Routing extends Op {

    /** What becomes of the probabilities of the chosen experts. */
    enum Gates {
        /** They are the gates (arXiv:2101.03961, eq. 2). */
        PROBABILITIES,
        /** They are divided by their sum (Mixtral, arXiv:2401.04088, sec. 2.1). */
        RENORMALISED
    }

    /** y = exp(x) / sum(exp(x)) by row. logits x [..., E] -> probabilities f32 [..., E]. Backward keeps x, which says its type. */
    record Softmax() implements Routing {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType x = in.get(0);
            Rules.floating("x", x);
            Rules.wholeRows("x", x);
            return List.of(new TensorType(DType.F32, x.shape(), x.placements()));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0, g.emit(new SoftmaxGrad(), g.input(0), g.gradient(0)).get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 4.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 0));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            return List.of(softmax(in.get(0), (int) types.get(0).shape().width()));
        }
    }

    /** dx = y (dy - sum(y dy)) by row, with y = softmax(x) taken again. Operands x, dy. */
    record SoftmaxGrad() implements Routing {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            TensorType x = in.get(0);
            TensorType dy = new TensorType(DType.F32, x.shape(), x.placements()).gradient();
            Rules.same("dy", in.get(1), "the gradient of the probabilities", dy);
            return List.of(x.gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return 8.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<Alias> aliases() {
            return List.of(Alias.allowed(0, 1));
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] dx = softmax(in.get(0), width);
            double[] dy = in.get(1);
            for (int from = 0; from < dx.length; from += width) {
                double mean = 0;
                for (int i = from; i < from + width; i++) {
                    mean += dx[i] * dy[i];
                }
                for (int i = from; i < from + width; i++) {
                    dx[i] *= dy[i] - mean;
                }
            }
            return List.of(dx);
        }
    }

    private static double[] softmax(double[] x, int width) {
        double[] y = new double[x.length];
        for (int from = 0; from < x.length; from += width) {
            double top = Arrays.stream(x, from, from + width).max().orElseThrow();
            double total = 0;
            for (int i = from; i < from + width; i++) {
                y[i] = Math.exp(x[i] - top);
                total += y[i];
            }
            for (int i = from; i < from + width; i++) {
                y[i] /= total;
            }
        }
        return y;
    }

    /**
     * The k likeliest experts of each token, likeliest first and the lower index first among equals. probabilities f32 [..., E] ->
     * gates f32 [..., k], experts i32 [..., k]. Backward keeps probabilities, experts.
     */
    record TopK(int k, Gates gates) implements Routing {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType p = in.get(0);
            checkProbabilities(p);
            Rules.require(
                    k >= 1 && k <= p.shape().width(), "k " + k + " must be from 1 to the number of experts of " + p);
            Shape chosen = p.shape().withWidth(k);
            return List.of(
                    new TensorType(DType.F32, chosen, p.placements()),
                    new TensorType(DType.I32, chosen, p.placements()));
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new TopKGrad(gates), g.input(0), g.output(1), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return (double) k * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            double[] p = in.get(0);
            double[] chosenGates = new double[p.length / width * k];
            double[] experts = new double[chosenGates.length];
            for (int row = 0; row < p.length / width; row++) {
                int from = row * width;
                int[] order = IntStream.range(0, width)
                        .boxed()
                        .sorted(Comparator.comparingDouble(e -> -p[from + e]))
                        .mapToInt(e -> e)
                        .limit(k)
                        .toArray();
                double total =
                        Arrays.stream(order).mapToDouble(e -> p[from + e]).sum();
                for (int j = 0; j < k; j++) {
                    experts[row * k + j] = order[j];
                    chosenGates[row * k + j] = p[from + order[j]] / (gates == Gates.RENORMALISED ? total : 1);
                }
            }
            return List.of(chosenGates, experts);
        }
    }

    /**
     * Gradient of {@link TopK}, 0 for experts that were not chosen: dgates, or (dgates - sum(dgates p) / s) / s with s the sum of the
     * chosen p. Operands probabilities, experts, dgates.
     */
    record TopKGrad(Gates gates) implements Routing {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            TensorType p = in.get(0);
            checkProbabilities(p);
            Rules.dtype("experts", in.get(1), DType.I32);
            TensorType dgates = new TensorType(DType.F32, in.get(1).shape(), p.placements()).gradient();
            Rules.same("dgates", in.get(2), "the gradient of the gates", dgates);
            return List.of(p.gradient());
        }

        @Override
        public double flops(List<TensorType> in) {
            return 6.0 * in.get(2).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int width = (int) types.get(0).shape().width();
            int k = (int) types.get(1).shape().width();
            double[] p = in.get(0);
            double[] dp = new double[p.length];
            for (int a = 0; a < in.get(1).length; a++) {
                int from = a / k * width;
                double total = 1;
                double weighted = 0;
                if (gates == Gates.RENORMALISED) {
                    total = 0;
                    for (int b = a / k * k; b < (a / k + 1) * k; b++) {
                        total += p[from + (int) in.get(1)[b]];
                        weighted += in.get(2)[b] * p[from + (int) in.get(1)[b]];
                    }
                }
                dp[from + (int) in.get(1)[a]] = (in.get(2)[a] - weighted / total) / total;
            }
            return List.of(dp);
        }
    }

    /**
     * Gives each choice a place in its expert's buffer until that is full; first choices of all tokens go before second ones, then
     * earlier tokens before later ones (GShard, arXiv:2006.16668, alg. 1). experts i32 [..., k] -> slots i32 [..., k] (expert capacity
     * + place, or -1: dropped), counts f32 [E] (choices of each expert, the dropped included), dropped f32 [1].
     *
     * <p>Each rank has a buffer of its own for its own tokens: where those are sharded, counts and dropped are P.
     *
     * @param capacity places for each expert on this rank
     */
    record AssignSlots(int numExperts, long capacity) implements Routing {
        /** Counts are exact in f32 up to here. */
        private static final long MAX_ASSIGNMENTS = 1L << 24;

        public AssignSlots {
            Rules.slots(numExperts, capacity);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 1);
            TensorType experts = in.get(0);
            Rules.dtype("experts", experts, DType.I32);
            Rules.wholeRows("experts", experts);
            Rules.require(
                    experts.shape().numElements() <= MAX_ASSIGNMENTS,
                    "experts " + experts + " has more than " + MAX_ASSIGNMENTS + " choices: use smaller micro-batches");
            TensorType counts = TensorType.of(DType.F32, numExperts);
            TensorType dropped = TensorType.of(DType.F32, 1);
            for (Axis axis : Axis.values()) {
                counts = counts.with(axis, summed(experts.on(axis)));
                dropped = dropped.with(axis, summed(experts.on(axis)));
            }
            return List.of(experts, counts, dropped);
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            int k = (int) types.get(0).shape().width();
            List<List<Integer>> queues = new ArrayList<>();
            IntStream.range(0, numExperts).forEach(e -> queues.add(new ArrayList<>()));
            for (int j = 0; j < k; j++) {
                for (int a = j; a < in.get(0).length; a += k) {
                    queues.get((int) in.get(0)[a]).add(a);
                }
            }
            double[] slots = new double[in.get(0).length];
            for (int e = 0; e < numExperts; e++) {
                for (int place = 0; place < queues.get(e).size(); place++) {
                    slots[queues.get(e).get(place)] = place < capacity ? e * capacity + place : -1;
                }
            }
            double dropped = Arrays.stream(slots).filter(s -> s < 0).count();
            double[] counts = queues.stream().mapToDouble(List::size).toArray();
            return List.of(slots, counts, new double[] {dropped});
        }
    }

    /**
     * loss = coefficient E sum over experts of f_e P_e, where f_e = counts_e / (k N) is the share of choices that fell on expert e and
     * P_e the mean of its probability over tokens (Switch, arXiv:2101.03961, eq. 4 to 6; there k = 1). Both sum to 1 over experts, so
     * loss = coefficient when all are equally likely. Hugging Face's Mixtral sums f over the k choices instead: its coefficient is this
     * one divided by k. probabilities f32 [..., E], counts f32 [E] of all tokens (reduced, so I or R) -> loss f32 [1].
     *
     * <p>Placements: tokens S -> P; R -> R, which {@link Elementwise.Share} turns into a partial sum; I -> I. Only probabilities get a
     * gradient; counts are steps. Backward keeps probabilities, counts.
     *
     * @param k experts for each token
     * @param numTokens N, the tokens of all ranks that counts was summed over
     */
    record LoadBalance(double coefficient, int k, long numTokens) implements Routing {
        public LoadBalance {
            Rules.require(k >= 1 && numTokens >= 1, "k " + k + " and tokens " + numTokens + " must be at least 1");
        }

        /** Factor of the sum over tokens and experts of p counts. */
        public double scale(long numExperts) {
            return coefficient * numExperts / ((double) k * numTokens * numTokens);
        }

        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 2);
            checkProbabilities(in.get(0));
            checkCounts(in.get(0), in.get(1));
            return List.of(loss(in.get(0)));
        }

        static TensorType loss(TensorType p) {
            TensorType loss = TensorType.of(DType.F32, 1);
            for (Axis axis : Axis.values()) {
                loss = loss.with(axis, summed(p.on(axis)));
            }
            return loss;
        }

        @Override
        public void differentiate(GradientBuilder g) {
            if (g.wants(0)) {
                g.contribute(
                        0,
                        g.emit(new LoadBalanceGrad(this), g.input(0), g.input(1), g.gradient(0))
                                .get(0));
            }
        }

        @Override
        public double flops(List<TensorType> in) {
            return 2.0 * in.get(0).shape().numElements();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] counts = in.get(1);
            double sum = 0;
            for (int i = 0; i < in.get(0).length; i++) {
                double f = counts[i % counts.length] / ((double) k * numTokens);
                sum += f * in.get(0)[i] / numTokens;
            }
            return List.of(new double[] {coefficient * counts.length * sum});
        }
    }

    /** dp[n, e] = coefficient E counts_e dloss / (k N^2). Operands probabilities (their type alone), counts, dloss [1]. */
    record LoadBalanceGrad(LoadBalance loss) implements Routing {
        @Override
        public List<TensorType> infer(List<TensorType> in) {
            Rules.count(in, 3);
            checkProbabilities(in.get(0));
            checkCounts(in.get(0), in.get(1));
            Rules.same(
                    "dloss",
                    in.get(2),
                    "the gradient of the loss",
                    LoadBalance.loss(in.get(0)).gradient());
            return List.of(in.get(0).gradient());
        }

        @Override
        public double bytes(List<TensorType> in) {
            return in.get(0).bytes() + in.get(1).bytes();
        }

        @Override
        public List<double[]> reference(List<TensorType> types, List<double[]> in) {
            double[] counts = in.get(1);
            double factor = loss.scale(counts.length) * in.get(2)[0];
            double[] dp = new double[in.get(0).length];
            Arrays.setAll(dp, i -> factor * counts[i % counts.length]);
            return List.of(dp);
        }
    }

    private static Placement summed(Placement tokens) {
        return tokens instanceof Placement.Sharded ? Placement.P : tokens;
    }

    private static void checkProbabilities(TensorType p) {
        Rules.dtype("probabilities", p, DType.F32);
        Rules.wholeRows("probabilities", p);
    }

    private static void checkCounts(TensorType p, TensorType counts) {
        Rules.dtype("counts", counts, DType.F32);
        Rules.shape("counts", counts, p.shape().width());
        counts.placements()
                .forEach((axis, placement) -> Rules.require(
                        placement.equals(Placement.R),
                        "counts " + counts + " must be those of all tokens: all-reduce them on axis " + axis));
    }
}
