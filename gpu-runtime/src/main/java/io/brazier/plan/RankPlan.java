package io.brazier.plan;

import io.brazier.tensor.Mesh;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;

/**
 * What one rank runs: segments, their order, and an address for every byte. Executors and the clock take the same object.
 *
 * @param regions bytes of each region
 * @param segments by name
 * @param schedule names of segments with the micro-batch each works on
 */
public record RankPlan(
        Mesh mesh, int rank, Map<Region, Long> regions, Map<String, Segment> segments, List<Launch> schedule) {

    /** Regions start at multiples of a huge page. */
    private static final long REGION_ALIGNMENT = 2L << 20;

    /** A segment run for a micro-batch. */
    public record Launch(String segment, int microBatch) {
        @Override
        public String toString() {
            return segment + "(" + microBatch + ")";
        }
    }

    public RankPlan {
        regions = java.util.Collections.unmodifiableMap(new EnumMap<>(regions));
        schedule = List.copyOf(schedule);
    }

    /** Offset of a region in the arena. */
    public long base(Region region) {
        long offset = 0;
        for (Region r : Region.values()) {
            if (r == region) {
                break;
            }
            offset += paddedBytes(r);
        }
        return offset;
    }

    /** Offset of a slice in the arena. */
    public long offset(Slice slice) {
        return base(slice.region()) + slice.offset();
    }

    private long paddedBytes(Region region) {
        long bytes = regions.getOrDefault(region, 0L);
        return (bytes + REGION_ALIGNMENT - 1) / REGION_ALIGNMENT * REGION_ALIGNMENT;
    }

    /** Size of the arena. */
    public long totalBytes() {
        long total = 0;
        for (Region r : Region.values()) {
            total += paddedBytes(r);
        }
        return total;
    }

    /** Memory by region, schedule, and FLOPs and bytes of each segment, as text. */
    public String summary() {
        StringBuilder text = new StringBuilder("rank " + rank + " of " + mesh + "\n");
        regions.forEach((region, bytes) -> text.append(String.format("  %-15s %,18d bytes%n", region, bytes)));
        text.append(String.format("  %-15s %,18d bytes%n", "arena", totalBytes()));
        text.append("  schedule ").append(schedule).append('\n');
        segments.forEach((name, s) -> text.append(String.format(
                "  %-28s %4d instructions %,16.0f FLOPs%n",
                name, s.program().instructions().size(), s.program().flops())));
        return text.toString();
    }

    /** The summary and every segment. */
    @Override
    public String toString() {
        StringBuilder text = new StringBuilder(summary());
        segments.values().forEach(text::append);
        return text.toString();
    }
}
