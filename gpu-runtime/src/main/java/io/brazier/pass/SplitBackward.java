package io.brazier.pass;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.Scaled;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;

/**
 * Splits backward in two, so that the stage before can go on as soon as the gradients of inputs are there (arXiv:2401.10241, sec.
 * 2): all that these gradients depend on runs first, with its collectives, and the rest, which completes the gradients of weights,
 * whenever the schedule says.
 */
public final class SplitBackward {

    /**
     * The two halves, each in the order that the whole had.
     *
     * @param input makes the gradients of inputs, and those of weights that come with them
     * @param weight makes the other gradients of weights
     * @param carried values that both have, and that must live until weight has run: made by input, or taken by both. They are
     *     the last outputs of input, so that no planner gives their place away
     */
    public record Halves(Program input, Program weight, List<Value> carried) {}

    private SplitBackward() {}

    /**
     * Splits a backward program.
     *
     * @param inputGradients outputs of backward; the other outputs belong to the half that makes them
     */
    public static Halves split(Program backward, Set<Value> inputGradients) {
        Set<Value> needed = new HashSet<>(inputGradients);
        List<Instruction> first = new ArrayList<>();
        List<Instruction> second = new ArrayList<>();
        for (int x = backward.instructions().size() - 1; x >= 0; x--) {
            Instruction i = backward.instructions().get(x);
            if (i.outputs().stream().anyMatch(needed::contains)) {
                needed.addAll(i.inputs());
                first.add(0, i);
            } else {
                second.add(0, i);
            }
        }
        Set<Value> made = new LinkedHashSet<>();
        first.forEach(i -> made.addAll(i.outputs()));
        Set<Value> shared = new HashSet<>(made);
        first.forEach(i -> shared.addAll(i.inputs()));
        Set<Value> read = new LinkedHashSet<>();
        second.forEach(i -> read.addAll(i.inputs()));
        List<Value> carried = read.stream().filter(shared::contains).toList();
        refuseOverwritten(first, Set.copyOf(carried));

        Set<Value> firstOutputs = new LinkedHashSet<>(backward.outputs());
        firstOutputs.removeIf(v -> !inputGradients.contains(v) && !made.contains(v));
        List<Value> secondOutputs = backward.outputs().stream()
                .filter(v -> !firstOutputs.contains(v))
                .toList();
        firstOutputs.addAll(carried);
        List<Value> secondInputs = new ArrayList<>(
                backward.inputs().stream().filter(read::contains).toList());
        carried.stream().filter(made::contains).forEach(secondInputs::add);
        return new Halves(
                new Program(
                        backward.name() + ".input",
                        backward.inputs().stream()
                                .filter(v -> needed.contains(v) || firstOutputs.contains(v))
                                .toList(),
                        first,
                        List.copyOf(firstOutputs)),
                new Program(backward.name() + ".weight", secondInputs, second, secondOutputs),
                carried);
    }

    /**
     * What the second half reads must still be there: the whole may read a value before it is overwritten, the halves cannot. Scales
     * stay as they are for a step, whatever else their state takes note of.
     */
    private static void refuseOverwritten(List<Instruction> first, Set<Value> carried) {
        for (Instruction i : first) {
            for (Op.Alias alias : i.op().aliases()) {
                Value v = i.inputs().get(alias.input());
                boolean overwrites = alias.need() == Op.Alias.Need.REQUIRED
                        && !(i.op() instanceof Collective.Replicate)
                        && !(i.op() instanceof Scaled);
                if (overwrites && carried.contains(v)) {
                    throw new AssertionError(i + " overwrites " + v + ", which the gradients of weights need");
                }
            }
        }
    }
}
