package io.brazier.text;

import java.util.Arrays;

/**
 * An n-gram language model with interpolated Kneser-Ney smoothing: what a neural network has to beat to be worth its time.
 *
 * <p>p_k(w | h) = max(c(h w) - d_k, 0) / c(h) + d_k n(h) / c(h) p_{k-1}(w | h'), where c counts occurrences at the highest order
 * and distinct left neighbours below it, n(h) is the number of distinct followers of h, h' is h without its first token,
 * d_k = n_1 / (n_1 + 2 n_2) over the n-grams of order k seen once and twice, and p_0 is uniform (Chen and Goodman, 1999,
 * sec. 4.1).
 */
public final class NgramBaseline {
    private final int bits;
    private final int vocabularySize;
    private final Order[] orders;

    /** N-grams of one order, packed into longs and sorted, and their contexts. */
    private record Order(
            long[] grams, int[] counts, long[] contexts, long[] totals, int[] followers, double discount) {}

    private NgramBaseline(int bits, int vocabularySize, Order[] orders) {
        this.bits = bits;
        this.vocabularySize = vocabularySize;
        this.orders = orders;
    }

    /**
     * Counts the n-grams of a text.
     *
     * @param tokens ids in [0, vocabularySize)
     * @param order tokens of the longest n-gram, context and prediction together
     * @throws IllegalArgumentException when order is not in [1, tokens] or order * bits of the vocabulary exceed 63
     */
    public static NgramBaseline train(int[] tokens, int order, int vocabularySize) {
        int bits = Math.max(1, 32 - Integer.numberOfLeadingZeros(vocabularySize - 1));
        if (order < 1 || order > tokens.length || order * bits > 63) {
            throw new IllegalArgumentException("order " + order + " must lie in [1, "
                    + Math.min(tokens.length, 63 / bits) + "] for " + tokens.length + " tokens and vocabularySize "
                    + vocabularySize + ": choose a smaller order or the bytes tokenizer");
        }
        long[] grams = new long[tokens.length - order + 1];
        long mask = (1L << order * bits) - 1;
        long window = 0;
        for (int t = 0; t < tokens.length; t++) {
            if (tokens[t] < 0 || tokens[t] >= vocabularySize) {
                throw new IllegalArgumentException(
                        "token " + t + " is " + tokens[t] + ", not in [0, " + vocabularySize + ")");
            }
            window = (window << bits | tokens[t]) & mask;
            if (t >= order - 1) {
                grams[t - order + 1] = window;
            }
        }
        Order[] orders = new Order[order];
        for (int k = order; k >= 1; k--) {
            orders[k - 1] = count(grams, bits);
            long suffix = (1L << (k - 1) * bits) - 1;
            grams = Arrays.stream(orders[k - 1].grams)
                    .map(gram -> gram & suffix)
                    .toArray();
        }
        return new NgramBaseline(bits, vocabularySize, orders);
    }

    /** Sorts, so that equal n-grams, and n-grams of one context, lie side by side. */
    private static Order count(long[] occurrences, int bits) {
        Arrays.sort(occurrences);
        long[] grams = Arrays.stream(occurrences).distinct().toArray();
        int[] counts = new int[grams.length];
        for (int i = 0, g = 0; i < occurrences.length; i++) {
            g = occurrences[i] == grams[g] ? g : g + 1;
            counts[g]++;
        }
        long[] contexts =
                Arrays.stream(grams).map(gram -> gram >>> bits).distinct().toArray();
        long[] totals = new long[contexts.length];
        int[] followers = new int[contexts.length];
        for (int g = 0, h = 0; g < grams.length; g++) {
            h = grams[g] >>> bits == contexts[h] ? h : h + 1;
            totals[h] += counts[g];
            followers[h]++;
        }
        double once = Arrays.stream(counts).filter(c -> c == 1).count();
        double twice = Arrays.stream(counts).filter(c -> c == 2).count();
        // No n-gram seen once leaves nothing to estimate from; any discount in (0, 1) is a distribution.
        double discount = once > 0 ? once / (once + 2 * twice) : 0.5;
        return new Order(grams, counts, contexts, totals, followers, discount);
    }

    /** Tokens of the longest n-gram. */
    public int order() {
        return orders.length;
    }

    /** Mean negative log-likelihood of a text, nats per token; the first tokens have the shorter context there is. */
    public double loss(int[] tokens) {
        double sum = 0;
        for (int t = 0; t < tokens.length; t++) {
            sum -= Math.log(probability(tokens, t));
        }
        return sum / tokens.length;
    }

    /** p(tokens[t] | the tokens before it). */
    double probability(int[] tokens, int t) {
        double p = 1.0 / vocabularySize;
        long gram = 0;
        for (int k = 1; k <= orders.length && k <= t + 1; k++) {
            gram |= (long) tokens[t - k + 1] << (k - 1) * bits;
            Order order = orders[k - 1];
            int h = Arrays.binarySearch(order.contexts, gram >>> bits);
            if (h < 0) {
                break; // a context that was never seen has no longer one that was
            }
            int g = Arrays.binarySearch(order.grams, gram);
            double kept = g < 0 ? 0 : Math.max(order.counts[g] - order.discount, 0);
            p = (kept + order.discount * order.followers[h] * p) / order.totals[h];
        }
        return p;
    }
}
