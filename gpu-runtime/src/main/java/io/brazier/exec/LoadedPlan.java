package io.brazier.exec;

import io.brazier.plan.RankPlan;
import io.brazier.plan.Region;
import io.brazier.plan.Segment;
import io.brazier.plan.Slice;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** A plan with its arena allocated and its instructions lowered. Owns the arena and the back end. */
public final class LoadedPlan implements AutoCloseable {

    /** What the arena holds before step 0. NaN shows reads of memory that nobody wrote. */
    public enum Fill {
        ZERO,
        NAN
    }

    /** Regions that must be zero: gaps between parameters take part in flat updates, and no scale is known. */
    private static final List<Region> ZERO = List.of(
            Region.WEIGHTS,
            Region.MASTERS,
            Region.GRADIENTS,
            Region.FIRST_MOMENTS,
            Region.SECOND_MOMENTS,
            Region.SCALES);

    private static final int STAGING_BYTES = 1 << 20;

    private final RankPlan plan;
    private final Backend backend;
    private final long arena;
    private final Map<String, Runnable[]> kernels = new HashMap<>();
    private final Map<RankPlan.Transfer, Runnable> transfers = new HashMap<>();
    private final ByteBuffer staging = ByteBuffer.allocateDirect(STAGING_BYTES).order(ByteOrder.nativeOrder());

    public LoadedPlan(RankPlan plan, Backend backend, Fill fill) {
        this.plan = plan;
        this.backend = backend;
        this.arena = backend.allocate(plan.totalBytes());
        if (fill == Fill.NAN) {
            backend.fill(arena, plan.totalBytes() / Float.BYTES, Float.NaN);
            for (Region region : ZERO) {
                long bytes = plan.regions().getOrDefault(region, 0L);
                backend.fill(arena + plan.base(region), bytes / Float.BYTES, 0);
            }
        }
        plan.segments().forEach((name, segment) -> {
            Runnable[] bySlot = new Runnable[segment.numSlots()];
            for (int slot = 0; slot < bySlot.length; slot++) {
                bySlot[slot] = backend.sequence(segment, lower(segment, slot));
            }
            kernels.put(name, bySlot);
        });
    }

    private Runnable[] lower(Segment segment, int slot) {
        List<Instruction> instructions = segment.program().instructions();
        Runnable[] lowered = new Runnable[instructions.size()];
        for (int x = 0; x < lowered.length; x++) {
            Instruction i = instructions.get(x);
            long workspace = segment.workspaces().get(x).map(this::address).orElse(0L);
            lowered[x] = backend.lower(
                    i,
                    new Backend.Addresses(
                            addresses(segment, slot, i.inputs()), addresses(segment, slot, i.outputs()), workspace));
        }
        return lowered;
    }

    private long[] addresses(Segment segment, int slot, List<Value> values) {
        return values.stream()
                .mapToLong(v -> address(segment.inSlot(segment.slice(v), slot)))
                .toArray();
    }

    public RankPlan plan() {
        return plan;
    }

    public long address(Slice slice) {
        return arena + plan.offset(slice);
    }

    /** Makes the calling thread ready to run segments. */
    public void bindThread() {
        backend.bindThread();
    }

    /** Runs a segment on the calling thread. */
    public void run(String segment, int slot) {
        kernels.get(segment)[slot].run();
    }

    /** Runs one entry of a schedule on the calling thread. */
    public void run(RankPlan.Step step) {
        if (step instanceof RankPlan.Launch launch) {
            run(launch.segment(), launch.slot());
        } else if (step instanceof RankPlan.StartTransfer start) {
            RankPlan.Transfer transfer = start.transfer();
            transfers.put(transfer, backend.start(transfer, address(transfer.slice()) + transfer.offset()));
        } else if (step instanceof RankPlan.AwaitTransfer await) {
            transfers.remove(await.transfer()).run();
        } else if (step instanceof RankPlan.Accept accept) {
            backend.copy(
                    address(accept.to()) + accept.offset(),
                    address(accept.from()),
                    accept.from().bytes());
        }
    }

    /** Copies a slice to another of as many bytes, behind what was run before. */
    public void copy(Slice from, Slice to) {
        check(to, 0, Math.toIntExact(from.bytes()));
        backend.copy(address(to), address(from), from.bytes());
    }

    /** Writes numbers of the host to a slice, at a byte offset; fill puts them into the given buffer. */
    public void write(Slice slice, long offset, int bytes, java.util.function.Consumer<ByteBuffer> fill) {
        check(slice, offset, bytes);
        staging.clear().limit(bytes);
        fill.accept(staging.slice().order(ByteOrder.nativeOrder()));
        backend.upload(staging, address(slice) + offset);
    }

    /** Reads bytes of a slice; the buffer is valid until the next call. */
    public ByteBuffer read(Slice slice, long offset, int bytes) {
        check(slice, offset, bytes);
        staging.clear().limit(bytes);
        backend.download(address(slice) + offset, staging);
        staging.flip().limit(bytes);
        return staging.slice().order(ByteOrder.nativeOrder());
    }

    /** Most bytes that {@link #read} and {@link #write} move at once. */
    public static int maxTransferBytes() {
        return STAGING_BYTES;
    }

    private static void check(Slice slice, long offset, int bytes) {
        if (offset < 0 || bytes < 0 || offset + bytes > slice.bytes() || bytes > STAGING_BYTES) {
            throw new IllegalArgumentException("bytes " + offset + " to " + (offset + bytes) + " of " + slice + " with "
                    + slice.bytes() + " bytes, at most " + STAGING_BYTES + " at once");
        }
    }

    /** Any thread may close what no thread uses. */
    @Override
    public void close() {
        backend.bindThread();
        backend.free(arena, plan.totalBytes());
        backend.close();
    }
}
