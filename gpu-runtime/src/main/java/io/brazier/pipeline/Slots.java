package io.brazier.pipeline;

import io.brazier.pipeline.Action.Phase;
import java.util.ArrayList;
import java.util.BitSet;
import java.util.List;

/**
 * Where a stage stashes its micro-batches: each takes the lowest free slot of its chunk at its forward and gives it back after its
 * backward, or after its weight gradients where backward is split.
 */
public final class Slots {
    private final List<List<Integer>> slots = new ArrayList<>();
    private final List<Integer> counts = new ArrayList<>();

    private Slots() {}

    /**
     * The slots of one stage.
     *
     * @throws IllegalArgumentException when a micro-batch has not one forward before one backward on each chunk
     */
    public static Slots of(List<Action> actions) {
        StageLists.check(List.of(actions));
        Slots result = new Slots();
        List<BitSet> used = new ArrayList<>();
        for (Action action : actions) {
            while (used.size() <= action.chunk()) {
                used.add(new BitSet());
                result.slots.add(new ArrayList<>());
                result.counts.add(0);
            }
            BitSet taken = used.get(action.chunk());
            List<Integer> slotOf = result.slots.get(action.chunk());
            if (action.phase() == Phase.FORWARD) {
                int slot = taken.nextClearBit(0);
                taken.set(slot);
                while (slotOf.size() <= action.microBatch()) {
                    slotOf.add(-1);
                }
                slotOf.set(action.microBatch(), slot);
                result.counts.set(action.chunk(), Math.max(result.counts.get(action.chunk()), slot + 1));
            } else if (action.phase().endsMicroBatch()) {
                taken.clear(slotOf.get(action.microBatch()));
            }
        }
        return result;
    }

    /** Slot of a micro-batch, from 0. */
    public int slot(int chunk, int microBatch) {
        return slots.get(chunk).get(microBatch);
    }

    /** How many slots the chunk needs: the largest number of micro-batches in flight. */
    public int count(int chunk) {
        return counts.get(chunk);
    }
}
