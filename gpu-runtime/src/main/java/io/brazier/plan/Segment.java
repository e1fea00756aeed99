package io.brazier.plan;

import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.Value;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * A program with a place for every value.
 *
 * @param slices place of each value
 * @param workspaces scratch memory of each instruction, in order; empty where the back end asks for none
 * @param numSlots stash slots that it can run on
 * @param slotBytes distance from a place in the stash to the same place in the next slot
 */
public record Segment(
        Program program, Map<Value, Slice> slices, List<Optional<Slice>> workspaces, int numSlots, long slotBytes) {

    public Segment {
        slices = Map.copyOf(slices);
        workspaces = List.copyOf(workspaces);
    }

    /** This segment for several stash slots. */
    Segment onSlots(int slots, long bytes) {
        return new Segment(program, slices, workspaces, slots, bytes);
    }

    /** A place in the stash as it is in a slot; other places are the same in all. */
    public Slice inSlot(Slice slice, int slot) {
        return slice.region() == Region.STASH
                ? new Slice(slice.region(), slice.offset() + slot * slotBytes, slice.bytes())
                : slice;
    }

    public Slice slice(Value value) {
        return slices.get(value);
    }

    @Override
    public String toString() {
        StringBuilder text = new StringBuilder("segment " + program.name() + "\n");
        for (Value v : program.inputs()) {
            text.append("  in  ").append(v).append(": ").append(v.type());
            text.append(" @ ").append(slice(v)).append('\n');
        }
        for (Instruction i : program.instructions()) {
            text.append("  ").append(i).append(" @");
            i.outputs().forEach(v -> text.append(' ').append(slice(v)));
            text.append('\n');
        }
        program.outputs().forEach(v -> text.append("  out ").append(v).append('\n'));
        return text.toString();
    }
}
