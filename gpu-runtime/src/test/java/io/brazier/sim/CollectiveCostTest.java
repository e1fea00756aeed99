package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.sim.CollectiveCost.Span;
import io.brazier.sim.Hardware.Tier;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Collectives against their closed forms (Thakur, Rabenseifner, Gropp 2005). */
class CollectiveCostTest {
    private static final Hardware H100 = Hardware.named("h100");
    private static final CollectiveCost COST = new CollectiveCost(H100);
    private static final Tier NVLINK = H100.network().tiers().get(0);
    private static final Tier INFINIBAND = H100.network().tiers().get(1);
    private static final double CALL = H100.network().callSeconds();
    private static final double BYTES = 1e9;

    private static Span ranks(int number, int stride) {
        return COST.span(IntStream.range(0, number).map(x -> x * stride).boxed().toList());
    }

    private static double bandwidth(Tier tier) {
        return tier.bytesPerSecond() * tier.busFraction();
    }

    private static void same(double expected, double actual) {
        assertEquals(expected, actual, 1e-12 * expected);
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4, 8})
    void ringsInsideAHost(int n) {
        double pass = (n - 1.0) / n * BYTES / bandwidth(NVLINK) + (n - 1) * NVLINK.latencySeconds();
        same(2 * pass + CALL, COST.ringAllReduce(ranks(n, 1), BYTES));
        same(pass + CALL, COST.allGather(ranks(n, 1), BYTES));
        same(pass + CALL, COST.reduceScatter(ranks(n, 1), BYTES));
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 16, 1024})
    void ringsOfOneRankPerHost(int n) {
        double pass = (n - 1.0) / n * BYTES / bandwidth(INFINIBAND) + (n - 1) * INFINIBAND.latencySeconds();
        same(2 * pass + CALL, COST.ringAllReduce(ranks(n, 8), BYTES));
    }

    @ParameterizedTest
    @ValueSource(ints = {2, 4, 8})
    void ringsThatSpanHostsUseThePortOfEveryMember(int perHost) {
        int n = 4 * perHost;
        Span span = COST.span(IntStream.range(0, n)
                .map(x -> x / perHost * 8 + x % perHost)
                .boxed()
                .toList());
        double slowest = Math.min(bandwidth(NVLINK), perHost * bandwidth(INFINIBAND));
        double hops = (n - 4) * NVLINK.latencySeconds() + 3 * INFINIBAND.latencySeconds();
        same((n - 1.0) / n * BYTES / slowest + hops + CALL, COST.allGather(span, BYTES));
    }

    @Test
    void treesBeatRingsOfManyHostsOnSmallMessagesAndLoseOnLargeOnes() {
        Span span = ranks(512, 8);
        double small = COST.allReduce(span, 1024);
        double tree = 2 * 9 * INFINIBAND.latencySeconds() + 2 * 1024 / (0.9 * bandwidth(INFINIBAND)) + CALL;
        same(tree, small);
        assertEquals(COST.ringAllReduce(span, 1e12), COST.allReduce(span, 1e12));
    }

    @Test
    void allToAllSendsToEachMemberOverTheTierThatIsShared() {
        double host = 7 * (BYTES / 8 / bandwidth(NVLINK) + NVLINK.latencySeconds());
        same(host + CALL, COST.allToAll(ranks(8, 1), BYTES));
        double out = 8 * (BYTES / 16 / bandwidth(INFINIBAND) + INFINIBAND.latencySeconds());
        same(out + CALL, COST.allToAll(ranks(16, 1), BYTES));
    }

    @Test
    void transfersTakeTheTierThatBothEndsShare() {
        same(BYTES / bandwidth(NVLINK) + NVLINK.latencySeconds() + CALL, COST.sendReceive(3, 0, BYTES));
        same(BYTES / bandwidth(INFINIBAND) + INFINIBAND.latencySeconds() + CALL, COST.sendReceive(0, 8, BYTES));
    }

    @Test
    void chainsAndRingsOfMessages() {
        same(BYTES / bandwidth(NVLINK) + 7 * NVLINK.latencySeconds() + CALL, COST.broadcast(ranks(8, 1), BYTES));
        same(BYTES / bandwidth(NVLINK) + NVLINK.latencySeconds() + CALL, COST.shift(ranks(8, 1), BYTES));
        // Between hosts two neighbours have one port each.
        same(BYTES / bandwidth(INFINIBAND) + INFINIBAND.latencySeconds() + CALL, COST.shift(ranks(16, 1), BYTES));
    }

    @Test
    void aGroupOfOneCostsNothing() {
        Span alone = ranks(1, 1);
        assertEquals(0, COST.allReduce(alone, BYTES));
        assertEquals(0, COST.allGather(alone, BYTES));
        assertEquals(0, COST.broadcast(alone, BYTES));
        assertEquals(0, COST.allToAll(alone, BYTES));
        assertEquals(0, COST.shift(alone, BYTES));
        assertEquals(0, COST.sendReceive(3, 3, BYTES));
    }

    @Test
    void theWidestTierThatIsCrossedTakesProcessors() {
        assertEquals(NVLINK.processorFraction(), COST.processorFraction(ranks(8, 1)));
        assertEquals(INFINIBAND.processorFraction(), COST.processorFraction(ranks(2, 8)));
        assertEquals(INFINIBAND.processorFraction(), COST.processorFraction(ranks(16, 1)));
    }

    @Test
    void ranksBeyondTheOutermostTierAreRefused() {
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> COST.span(List.of(0, 70_000)));
        assertTrue(e.getMessage().contains("rank 70000 is outside the 65536 ranks that InfiniBand"), e.getMessage());
    }
}
