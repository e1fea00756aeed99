package io.brazier.program;

import io.brazier.tensor.TensorType;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Writes a program, checking each instruction as it is added. */
public final class ProgramBuilder {
    private final String name;
    private final List<Value> inputs = new ArrayList<>();
    private final List<Instruction> instructions = new ArrayList<>();
    private final Deque<String> scopes = new ArrayDeque<>();
    private final Map<String, Integer> names = new HashMap<>();
    private int nextId;

    public ProgramBuilder(String name) {
        this(name, 0);
    }

    /** A builder whose values do not clash with those of a program that has ids below firstId. */
    public ProgramBuilder(String name, int firstId) {
        this.name = name;
        this.nextId = firstId;
    }

    /** One more than the largest id in use. */
    public static int nextId(Program program) {
        int max = program.inputs().stream().mapToInt(Value::id).max().orElse(-1);
        for (Instruction i : program.instructions()) {
            max = Math.max(max, i.outputs().stream().mapToInt(Value::id).max().orElse(-1));
        }
        return max + 1;
    }

    public Value input(String valueName, TensorType type) {
        return input(value(valueName, type));
    }

    /** Takes a value of another program as an input of this one. */
    public Value input(Value value) {
        inputs.add(value);
        return value;
    }

    /** Instructions added until {@link #leave} carry this name in their path. */
    public void enter(String scope) {
        scopes.addLast(scope);
    }

    public void leave() {
        scopes.removeLast();
    }

    /** Instructions so far. */
    public List<Instruction> instructions() {
        return List.copyOf(instructions);
    }

    /** Path of the module being written. */
    public String path() {
        return String.join(".", scopes);
    }

    /** Applies an op with one output. */
    public Value apply(Op op, Value... operands) {
        return applyAll(path(), op, operands).get(0);
    }

    /**
     * Applies an op.
     *
     * @throws IllegalArgumentException when the types do not fit; the message starts with the path
     */
    public List<Value> applyAll(String path, Op op, Value... operands) {
        List<Value> operandList = List.of(operands);
        List<TensorType> types;
        try {
            types = op.infer(operandList.stream().map(Value::type).toList());
        } catch (IllegalArgumentException e) {
            throw new IllegalArgumentException(path + ": " + op.mnemonic() + ": " + e.getMessage(), e);
        }
        List<Value> outputs =
                types.stream().map(type -> value(op.mnemonic(), type)).toList();
        instructions.add(new Instruction(op, operandList, outputs, path));
        return outputs;
    }

    public String name() {
        return name;
    }

    public Program build(List<Value> outputs) {
        return new Program(name, inputs, instructions, outputs);
    }

    private Value value(String base, TensorType type) {
        int count = names.merge(base, 1, Integer::sum);
        return new Value(nextId++, count == 1 ? base : base + "." + count, type);
    }
}
