package io.brazier.pass;

import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;

/**
 * Makes activations again in backward instead of keeping them (arXiv:1604.06174). The instructions of forward fall into scopes;
 * right before backward first needs a value of a scope, it repeats those instructions of the scope that lead to all values it
 * needs of it. What they read from outside the scope is kept. The same ops run on the same inputs, so nothing changes bitwise.
 */
public final class Recompute {

    /**
     * The two programs.
     *
     * @param forward its outputs are those it had and then what backward now takes
     * @param backward its outputs are the same values as before
     */
    public record Result(Program forward, Program backward) {}

    private final Program forward;
    private final Program backward;
    private final Map<Value, Integer> definition = new HashMap<>();
    private final List<Optional<String>> scopes;

    private Recompute(Program forward, Program backward, Function<Instruction, Optional<String>> scope) {
        this.forward = forward;
        this.backward = backward;
        this.scopes = forward.instructions().stream().map(scope).toList();
        for (int x = 0; x < forward.instructions().size(); x++) {
            for (Value v : forward.instructions().get(x).outputs()) {
                definition.put(v, x);
            }
        }
    }

    /**
     * Applies the pass.
     *
     * @param forward as it was before differentiation: its outputs are what others take, and never made again
     * @param backward takes values of forward as inputs
     * @param scope name of the scope whose values are made again together, or empty for instructions whose values are kept. A
     *     gather of weights belongs into the scope that reads them, so that they are gathered again too
     */
    public static Result apply(Program forward, Program backward, Function<Instruction, Optional<String>> scope) {
        return new Recompute(forward, backward, scope).run();
    }

    private Result run() {
        Set<Value> kept = new HashSet<>(forward.outputs());
        kept.addAll(crossing(clones(kept)));
        Map<String, TreeSet<Integer>> clones = clones(kept);
        Program rebuilt = rebuild(clones, kept);
        List<Value> outputs = new ArrayList<>(forward.outputs());
        rebuilt.inputs().stream()
                .filter(v -> definition.containsKey(v) && !forward.outputs().contains(v))
                .forEach(outputs::add);
        return new Result(new Program(forward.name(), forward.inputs(), forward.instructions(), outputs), rebuilt);
    }

    private boolean isRemade(Value v, Set<Value> kept) {
        return definition.containsKey(v) && scopes.get(definition.get(v)).isPresent() && !kept.contains(v);
    }

    /** For each scope the instructions to repeat, when the given values are at hand. */
    private Map<String, TreeSet<Integer>> clones(Set<Value> kept) {
        Map<String, TreeSet<Integer>> result = new HashMap<>();
        for (Value needed : backward.inputs()) {
            if (isRemade(needed, kept)) {
                String scope = scopes.get(definition.get(needed)).orElseThrow();
                collect(needed, scope, kept, result.computeIfAbsent(scope, k -> new TreeSet<>()));
            }
        }
        return result;
    }

    private void collect(Value v, String scope, Set<Value> kept, Set<Integer> into) {
        boolean here = isRemade(v, kept) && scopes.get(definition.get(v)).equals(Optional.of(scope));
        if (here && into.add(definition.get(v))) {
            forward.instructions().get(definition.get(v)).inputs().forEach(u -> collect(u, scope, kept, into));
        }
    }

    /** Values of one scope that the repeated instructions of another read. */
    private Set<Value> crossing(Map<String, TreeSet<Integer>> clones) {
        Set<Value> result = new HashSet<>();
        clones.forEach((scope, instructions) -> instructions.stream()
                .flatMap(x -> forward.instructions().get(x).inputs().stream())
                .filter(definition::containsKey)
                .filter(v -> !scopes.get(definition.get(v)).equals(Optional.of(scope)))
                .forEach(result::add));
        return result;
    }

    private Program rebuild(Map<String, TreeSet<Integer>> clones, Set<Value> kept) {
        ProgramBuilder ids = new ProgramBuilder(
                "recompute", Math.max(ProgramBuilder.nextId(forward), ProgramBuilder.nextId(backward)));
        Map<Value, Value> remade = new HashMap<>();
        List<Instruction> instructions = new ArrayList<>();
        for (Instruction i : backward.instructions()) {
            for (Value v : i.inputs()) {
                if (isRemade(v, kept) && !remade.containsKey(v)) {
                    String scope = scopes.get(definition.get(v)).orElseThrow();
                    clones.get(scope)
                            .forEach(x -> repeat(forward.instructions().get(x), ids, kept, remade, instructions));
                }
            }
            instructions.add(new Instruction(i.op(), renamed(i.inputs(), remade), i.outputs(), i.path()));
        }
        Set<Value> inputs = new LinkedHashSet<>();
        backward.inputs().stream().filter(v -> !remade.containsKey(v)).forEach(inputs::add);
        Set<Value> defined = new HashSet<>(inputs);
        for (Instruction i : instructions) {
            i.inputs().stream().filter(v -> !defined.contains(v)).forEach(inputs::add);
            defined.addAll(i.outputs());
        }
        return new Program(backward.name(), List.copyOf(inputs), instructions, renamed(backward.outputs(), remade));
    }

    private static void repeat(
            Instruction i, ProgramBuilder ids, Set<Value> kept, Map<Value, Value> remade, List<Instruction> into) {
        List<Value> inputs = renamed(i.inputs(), remade);
        List<Value> outputs = ids.applyAll(i.path(), i.op(), inputs.toArray(Value[]::new));
        for (int x = 0; x < outputs.size(); x++) {
            if (!kept.contains(i.outputs().get(x))) {
                remade.put(i.outputs().get(x), outputs.get(x));
            }
        }
        into.add(new Instruction(i.op(), inputs, outputs, i.path()));
    }

    private static List<Value> renamed(List<Value> values, Map<Value, Value> remade) {
        return values.stream().map(v -> remade.getOrDefault(v, v)).toList();
    }
}
