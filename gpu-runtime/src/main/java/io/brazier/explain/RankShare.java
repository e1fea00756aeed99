package io.brazier.explain;

import io.brazier.plan.PlacedUnit;
import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.Region;
import io.brazier.plan.Segment;
import io.brazier.plan.TrainingPlan;
import io.brazier.tensor.Shape;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What one rank has and does in a step.
 *
 * @param numParameters elements of parameters that it works with, its tp and ep shards counted as they are
 * @param bytes of each region of its arena
 * @param arenaBytes all regions, each rounded up to a huge page: what is allocated
 * @param stashes of its model chunks
 * @param flops of a step, recomputation included
 * @param sentBytes by group of axes, as {@link Traffic} counts
 */
public record RankShare(
        long numParameters,
        Map<Region, Long> bytes,
        long arenaBytes,
        List<Stash> stashes,
        double flops,
        Map<String, Double> sentBytes) {

    /** What a model chunk keeps between forward and backward, for as many micro-batches as are in flight. */
    public record Stash(int numSlots, long slotBytes) {}

    public RankShare {
        bytes = Map.copyOf(bytes);
        stashes = List.copyOf(stashes);
        sentBytes = java.util.Collections.unmodifiableMap(new TreeMap<>(sentBytes));
    }

    /** Bytes of some regions. */
    public long bytesOf(Region... regions) {
        long sum = 0;
        for (Region region : regions) {
            sum += bytes.getOrDefault(region, 0L);
        }
        return sum;
    }

    static RankShare of(TrainingPlan training) {
        RankPlan plan = training.plan();
        return new RankShare(
                training.units().stream()
                        .mapToLong(unit -> numParameters(unit, training))
                        .sum(),
                plan.regions(),
                plan.totalBytes(),
                stashes(training),
                flops(plan),
                Traffic.sent(plan));
    }

    private static long numParameters(PlacedUnit unit, TrainingPlan training) {
        return unit.unit().parameters().stream()
                .map(spec -> spec.shard(training.plan().mesh(), training.plan().rank())
                        .shape())
                .mapToLong(Shape::numElements)
                .sum();
    }

    private static List<Stash> stashes(TrainingPlan training) {
        List<Stash> stashes = new ArrayList<>();
        for (int c = 0; c < training.request().layout().chunksPerStage(); c++) {
            Segment forward = training.plan().segments().get(TrainingPlan.FORWARD + (c == 0 ? "" : "." + c));
            stashes.add(new Stash(forward.numSlots(), forward.slotBytes()));
        }
        return stashes;
    }

    private static double flops(RankPlan plan) {
        Map<String, Double> bySegment = new HashMap<>();
        plan.segments()
                .forEach(
                        (name, segment) -> bySegment.put(name, segment.program().flops()));
        return plan.schedule().stream()
                .filter(Launch.class::isInstance)
                .mapToDouble(step -> bySegment.get(((Launch) step).segment()))
                .sum();
    }
}
