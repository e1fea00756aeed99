package io.brazier.plan;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * What one rank runs: segments, their order, and an address for every byte. Executors and the clock take the same object.
 *
 * @param regions bytes of each region
 * @param segments by name
 * @param schedule what a step does, in order
 */
public record RankPlan(
        Mesh mesh, int rank, Map<Region, Long> regions, Map<String, Segment> segments, List<Step> schedule) {

    /** Regions start at multiples of a huge page. */
    private static final long REGION_ALIGNMENT = 2L << 20;

    /** One entry of a schedule. */
    public sealed interface Step permits Launch, StartTransfer, AwaitTransfer, Accept {}

    /**
     * A segment run for a micro-batch.
     *
     * @param slot stash slot that it works on
     */
    public record Launch(String segment, int microBatch, int slot) implements Step {
        @Override
        public String toString() {
            return segment + "(" + microBatch + (slot == 0 ? "" : " slot " + slot) + ")";
        }
    }

    /**
     * Hidden states or their gradient on their way between neighbouring virtual stages.
     *
     * @param peer pipeline stage that sends or receives
     * @param message virtual stages and micro-batch, the same on both sides
     * @param slice that is sent from or received into
     * @param offset bytes of the slot behind the slice's own address
     */
    public record Transfer(Direction direction, int peer, String message, Slice slice, long offset) {
        public enum Direction {
            SEND,
            RECEIVE
        }

        @Override
        public String toString() {
            return (direction == Direction.SEND ? "send " : "receive ") + message;
        }
    }

    /** Begins a transfer, which then runs beside the segments. */
    public record StartTransfer(Transfer transfer) implements Step {
        @Override
        public String toString() {
            return transfer.toString();
        }
    }

    /** Returns when a transfer is done. */
    public record AwaitTransfer(Transfer transfer) implements Step {
        @Override
        public String toString() {
            return "await " + transfer;
        }
    }

    /** Copies what arrived into its slot. */
    public record Accept(Slice from, Slice to, long offset) implements Step {
        @Override
        public String toString() {
            return "accept";
        }
    }

    public RankPlan {
        regions = java.util.Collections.unmodifiableMap(new EnumMap<>(regions));
        schedule = List.copyOf(schedule);
    }

    /** Groups of the collectives, in the order of their names, which is the same on all members. */
    public List<Group> groups() {
        Map<String, Group> names = new TreeMap<>();
        segments.values().stream()
                .flatMap(segment -> segment.program().instructions().stream())
                .map(Instruction::op)
                .filter(op -> op instanceof Collective && !(op instanceof Collective.Replicate))
                .map(op -> ((Collective) op).group())
                .forEach(group -> names.put(group.toString(), group));
        return List.copyOf(names.values());
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
