package io.brazier.sim;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Value;
import io.brazier.sim.Hardware.Network;
import io.brazier.sim.Hardware.Tier;
import java.util.List;

/**
 * Seconds of collectives by latency and bandwidth (alpha and beta). A ring's links differ in tier: inside a domain it has the
 * bandwidth of one rank's link; out of a domain it leaves through the links of all members there, as each rank has a network
 * port of its own and as many rings run side by side. The slowest tier sets the pace, since chunks are pipelined; latencies of
 * all hops add up. Bytes are those of the whole tensor: a sum's operand, what a gather yields, what one rank holds in an
 * all-to-all.
 */
public final class CollectiveCost {
    /** What two trees that share links reach of a ring's bandwidth, as NCCL's own cost model has it. */
    private static final double TREE_FRACTION = 0.9;

    private final Network network;

    public CollectiveCost(Hardware hardware) {
        this.network = hardware.network();
    }

    /**
     * Members of a group by domain.
     *
     * @param counts members in one domain of each tier, innermost first; the last is the size of the group
     */
    public record Span(List<Integer> counts) {
        public Span {
            counts = List.copyOf(counts);
        }

        public int size() {
            return counts.get(counts.size() - 1);
        }
    }

    /**
     * How ranks lie in the tiers. Where domains hold unequal numbers of members, the smallest, which has the fewest links,
     * counts.
     *
     * @throws IllegalArgumentException when the outermost tier does not hold all
     */
    public Span span(List<Integer> ranks) {
        return new Span(network.tiers().stream().map(t -> members(ranks, t)).toList());
    }

    private int members(List<Integer> ranks, Tier tier) {
        Tier outermost = network.tiers().get(network.tiers().size() - 1);
        if (tier == outermost) {
            int last = ranks.get(ranks.size() - 1);
            if (last / tier.numRanks() != ranks.get(0) / tier.numRanks()) {
                throw new IllegalArgumentException(
                        "rank " + last + " is outside the " + tier.numRanks() + " ranks that " + tier.name()
                                + ", the outermost tier, connects: add a tier to the hardware file");
            }
            return ranks.size();
        }
        java.util.Map<Integer, Integer> byDomain = new java.util.HashMap<>();
        ranks.forEach(r -> byDomain.merge(r / tier.numRanks(), 1, Integer::sum));
        return java.util.Collections.min(byDomain.values());
    }

    /** Seconds of a collective, or of what a {@link Collective.Start} begins, from its operands and results on one rank. */
    public double seconds(Instruction i, Span span) {
        Op op = i.op() instanceof Collective.Start start ? start.collective() : i.op();
        double in = bytes(i.inputs());
        double out = bytes(i.outputs());
        if (op instanceof Collective.Replicate || op instanceof Collective.Wait) {
            return 0;
        }
        if (op instanceof Collective.AllReduce) {
            return allReduce(span, in);
        }
        if (op instanceof Collective.AllGather || op instanceof Collective.GatherWeights) {
            return allGather(span, out);
        }
        if (op instanceof Collective.ReduceScatter || op instanceof Collective.ScatterGradients) {
            return reduceScatter(span, in);
        }
        if (op instanceof Collective.AllToAll) {
            return allToAll(span, in);
        }
        if (op instanceof Collective.Shift) {
            return shift(span, in);
        }
        throw new AssertionError("the clock has no price for " + op.mnemonic());
    }

    private static double bytes(List<Value> values) {
        return values.stream().mapToDouble(v -> v.type().bytes()).sum();
    }

    /** 2 (n - 1) / n bytes over the ring's bandwidth and 2 (n - 1) hops, or a tree with 2 log2 hops between domains if sooner. */
    public double allReduce(Span span, double bytes) {
        return Math.min(ringAllReduce(span, bytes), treeAllReduce(span, bytes));
    }

    double ringAllReduce(Span span, double bytes) {
        return 2 * ringPass(span, bytes) + call(span);
    }

    double treeAllReduce(Span span, double bytes) {
        double latency = 0;
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            double fanOut = (double) span.counts().get(x) / inner;
            // A chain inside the innermost domain, a binary tree over domains.
            double hops = x == 0 ? fanOut - 1 : Math.ceil(Math.log(fanOut) / Math.log(2));
            latency += 2 * hops * network.tiers().get(x).latencySeconds();
            inner = span.counts().get(x);
        }
        return span.size() == 1 ? 0 : latency + 2 * bytes / (TREE_FRACTION * ringBytesPerSecond(span)) + call(span);
    }

    /** (n - 1) / n bytes over the ring's bandwidth and n - 1 hops. */
    public double allGather(Span span, double bytes) {
        return ringPass(span, bytes) + call(span);
    }

    /** As {@link #allGather}, the other way. */
    public double reduceScatter(Span span, double bytes) {
        return ringPass(span, bytes) + call(span);
    }

    /** Chunks follow each other down a chain: bytes over the ring's bandwidth and n - 1 hops. */
    public double broadcast(Span span, double bytes) {
        return span.size() == 1 ? 0 : bytes / ringBytesPerSecond(span) + hopSeconds(span) + call(span);
    }

    /** Each rank sends bytes / n to every other over its own link of the tier that they share; tiers work side by side. */
    public double allToAll(Span span, double bytes) {
        double slowest = 0;
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            Tier tier = network.tiers().get(x);
            int reached = span.counts().get(x) - inner;
            double seconds = reached * (bytes / span.size() / tier.payloadBytesPerSecond() + tier.latencySeconds());
            slowest = Math.max(slowest, seconds);
            inner = span.counts().get(x);
        }
        return slowest + call(span);
    }

    /** Each rank sends to the next: bytes over the slowest tier that two neighbours share, one hop. */
    public double shift(Span span, double bytes) {
        double slowest = 0;
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            Tier tier = network.tiers().get(x);
            if (span.counts().get(x) > inner) {
                slowest = Math.max(slowest, bytes / tier.payloadBytesPerSecond() + tier.latencySeconds());
            }
            inner = span.counts().get(x);
        }
        return slowest + call(span);
    }

    /** From one rank to another: bytes over the bandwidth of the tier that they share, one hop. */
    public double sendReceive(int from, int to, double bytes) {
        if (from == to) {
            return 0;
        }
        Span span = span(from < to ? List.of(from, to) : List.of(to, from));
        Tier tier = network.tiers().get(span.counts().indexOf(2));
        return bytes / tier.payloadBytesPerSecond() + tier.latencySeconds() + network.callSeconds();
    }

    /** Share of the processors that a collective takes from compute: that of the widest tier which the group crosses. */
    double processorFraction(Span span) {
        double fraction = 0;
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            fraction = span.counts().get(x) > inner ? network.tiers().get(x).processorFraction() : fraction;
            inner = span.counts().get(x);
        }
        return fraction;
    }

    /** Once around the ring: (n - 1) / n of the bytes cross each link in n - 1 hops. */
    private double ringPass(Span span, double bytes) {
        int n = span.size();
        return n == 1 ? 0 : (n - 1.0) / n * bytes / ringBytesPerSecond(span) + hopSeconds(span);
    }

    /** Bandwidth of the narrowest tier that the ring crosses. */
    private double ringBytesPerSecond(Span span) {
        double narrowest = Double.POSITIVE_INFINITY;
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            if (span.counts().get(x) > inner) {
                // The innermost tier connects ranks by one link each; out of its domains leave as many as it has
                // members.
                narrowest = Math.min(narrowest, inner * network.tiers().get(x).payloadBytesPerSecond());
            }
            inner = span.counts().get(x);
        }
        return narrowest;
    }

    private double hopSeconds(Span span) {
        double seconds = 0;
        int n = span.size();
        int inner = 1;
        for (int x = 0; x < network.tiers().size(); x++) {
            int count = span.counts().get(x);
            // Of the ring's n - 1 hops, n / inner - n / count cross this tier.
            seconds += ((double) n / inner - (double) n / count)
                    * network.tiers().get(x).latencySeconds();
            inner = count;
        }
        return seconds;
    }

    private double call(Span span) {
        return span.size() == 1 ? 0 : network.callSeconds();
    }
}
