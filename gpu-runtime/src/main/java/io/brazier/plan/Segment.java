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
 */
public record Segment(Program program, Map<Value, Slice> slices, List<Optional<Slice>> workspaces) {

    public Segment {
        slices = Map.copyOf(slices);
        workspaces = List.copyOf(workspaces);
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
