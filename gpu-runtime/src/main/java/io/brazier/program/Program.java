package io.brazier.program;

import io.brazier.tensor.TensorType;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.function.Supplier;
import java.util.stream.Collectors;

/** A straight-line list of instructions; values are defined before use and once. Making one verifies it. */
public record Program(String name, List<Value> inputs, List<Instruction> instructions, List<Value> outputs) {

    public Program {
        inputs = List.copyOf(inputs);
        instructions = List.copyOf(instructions);
        outputs = List.copyOf(outputs);
        verify(name, inputs, instructions, outputs);
    }

    private static void verify(String name, List<Value> inputs, List<Instruction> instructions, List<Value> outputs) {
        Set<Value> defined = new HashSet<>();
        inputs.forEach(v -> define(name, defined, v));
        Set<Value> inFlight = new HashSet<>();
        for (Instruction i : instructions) {
            for (Value v : i.inputs()) {
                check(defined.contains(v), name, i.path(), () -> v + " is used before it is defined");
                check(
                        !inFlight.contains(v) || i.op() instanceof Collective.Wait,
                        name,
                        i.path(),
                        () -> v + " is used while it is in flight");
            }
            List<TensorType> types = i.op().infer(i.inputTypes());
            check(
                    types.equals(i.outputs().stream().map(Value::type).toList()),
                    name,
                    i.path(),
                    () -> "outputs of " + i + " should be " + types);
            i.outputs().forEach(v -> define(name, defined, v));
            if (i.op() instanceof Collective.Start) {
                inFlight.addAll(i.outputs());
            }
            if (i.op() instanceof Collective.Wait) {
                i.inputs().forEach(inFlight::remove);
            }
        }
        outputs.forEach(v -> check(defined.contains(v), name, "outputs", () -> v + " is never defined"));
        check(inFlight.isEmpty(), name, "end", () -> "nobody waits for " + inFlight);
    }

    private static void define(String program, Set<Value> defined, Value v) {
        check(defined.add(v), program, "definition", () -> v + " is defined twice");
    }

    private static void check(boolean holds, String program, String path, Supplier<String> message) {
        if (!holds) {
            throw new AssertionError("program " + program + ", " + path + ": " + message.get());
        }
    }

    public double flops() {
        return instructions.stream().mapToDouble(Instruction::flops).sum();
    }

    @Override
    public String toString() {
        return "program " + name + "("
                + inputs.stream().map(v -> v + ": " + v.type()).collect(Collectors.joining(", "))
                + ")\n"
                + instructions.stream().map(i -> "  " + i + "\n").collect(Collectors.joining())
                + "  return "
                + outputs.stream().map(Value::toString).collect(Collectors.joining(", "))
                + "\n";
    }
}
