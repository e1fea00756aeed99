package io.brazier.pass;

import io.brazier.program.Cast;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Rebuilds programs with the f32 inputs of forward as bf16 and infers all other types anew, so that precision flows from weights and
 * activations to what is computed from them (arXiv:1710.03740; arXiv:1905.12322). Ops give losses, statistics of rows and gradients
 * of weights in f32. Where an op refuses f32 beside bf16, one f32 operand is cast to bf16 if that will do, else all bf16 operands to
 * f32.
 */
public final class MixedPrecision {
    private final Map<Value, Value> narrow = new HashMap<>();
    private final Map<Value, Value> casts = new HashMap<>();
    private final Program forward;
    private List<Instruction> instructions;
    private int nextId;

    private MixedPrecision(Program wide, Set<Value> exact) {
        wide.inputs().forEach(v -> {
            boolean narrows = v.type().dtype() == DType.F32 && !exact.contains(v);
            take(v, narrows ? DType.BF16 : v.type().dtype());
        });
        forward = rebuild(wide);
    }

    /** Rebuilds a program of f32 values. */
    public static MixedPrecision of(Program forward) {
        return of(forward, Set.of());
    }

    /** The same, but that some inputs stay f32. */
    public static MixedPrecision of(Program forward, Set<Value> exact) {
        return new MixedPrecision(forward, exact);
    }

    public Program forward() {
        return forward;
    }

    /** What stands for a value of the given program. */
    public Value value(Value wide) {
        return narrow.get(wide);
    }

    /**
     * Rebuilds a derivative of the given program. The gradient of a root has the root's type, sums stay f32.
     *
     * @throws IllegalArgumentException when the gradient of a value with a sum would not be f32
     */
    public Autodiff.Result derivative(Autodiff.Result wide) {
        return new MixedPrecision(this).rebuild(wide);
    }

    private MixedPrecision(MixedPrecision of) {
        forward = of.forward;
        narrow.putAll(of.narrow);
        nextId = of.nextId;
    }

    private Autodiff.Result rebuild(Autodiff.Result wide) {
        wide.seeds().forEach((root, seed) -> take(seed, narrow.get(root).type().dtype()));
        wide.sums().values().forEach(sum -> take(sum, sum.type().dtype()));
        Program backward = rebuild(wide.backward());
        Map<Value, Value> gradients = renamed(wide.gradients());
        Map<Value, Value> sums = renamed(wide.sums());
        sums.forEach((v, sum) -> {
            if (!gradients.get(v).type().equals(sum.type())) {
                throw new IllegalArgumentException("the gradient of " + v + " is "
                        + gradients.get(v).type() + " beside its sum " + sum.type()
                        + ": its op must give gradients of weights in f32");
            }
        });
        List<Value> kept = wide.forward().outputs().stream().map(narrow::get).toList();
        Program keeping = new Program(forward.name(), forward.inputs(), forward.instructions(), kept);
        return new Autodiff.Result(keeping, backward, renamed(wide.seeds()), sums, gradients);
    }

    private Map<Value, Value> renamed(Map<Value, Value> wide) {
        Map<Value, Value> result = new LinkedHashMap<>();
        wide.forEach((k, v) -> result.put(narrow.get(k), narrow.get(v)));
        return result;
    }

    private Program rebuild(Program program) {
        instructions = new ArrayList<>();
        program.instructions().forEach(this::rebuild);
        List<Value> inputs = program.inputs().stream().map(narrow::get).toList();
        List<Value> outputs = program.outputs().stream().map(narrow::get).toList();
        return new Program(program.name(), inputs, instructions, outputs);
    }

    private void rebuild(Instruction i) {
        List<Value> operands = i.inputs().stream().map(narrow::get).toList();
        if (infer(i.op(), types(operands)).isEmpty()) {
            operands = agreeing(i, operands);
        }
        List<TensorType> types = i.op().infer(types(operands));
        List<Value> outputs = new ArrayList<>();
        for (int x = 0; x < types.size(); x++) {
            outputs.add(define(i.outputs().get(x), types.get(x)));
        }
        instructions.add(new Instruction(i.op(), operands, outputs, i.path()));
    }

    private void take(Value input, DType dtype) {
        define(input, input.type().as(dtype));
    }

    private Value define(Value wide, TensorType type) {
        Value v = new Value(nextId++, wide.name(), type);
        narrow.put(wide, v);
        return v;
    }

    /** Operands that the op takes: one narrowed, the last that helps, or all wide. */
    private List<Value> agreeing(Instruction i, List<Value> operands) {
        for (int x = operands.size() - 1; x >= 0; x--) {
            if (operands.get(x).type().dtype() == DType.F32) {
                List<TensorType> types = new ArrayList<>(types(operands));
                types.set(x, types.get(x).as(DType.BF16));
                if (infer(i.op(), types).isPresent()) {
                    List<Value> narrowed = new ArrayList<>(operands);
                    narrowed.set(x, cast(operands.get(x), DType.BF16, i.path()));
                    return narrowed;
                }
            }
        }
        return operands.stream()
                .map(v -> v.type().dtype() == DType.BF16 ? cast(v, DType.F32, i.path()) : v)
                .toList();
    }

    private Value cast(Value v, DType to, String path) {
        return casts.computeIfAbsent(v, x -> {
            Value y = new Value(nextId++, x.name() + "." + to, x.type().as(to));
            instructions.add(new Instruction(new Cast(to), List.of(x), List.of(y), path));
            return y;
        });
    }

    private static Optional<List<TensorType>> infer(Op op, List<TensorType> types) {
        try {
            return Optional.of(op.infer(types));
        } catch (IllegalArgumentException refused) {
            return Optional.empty();
        }
    }

    private static List<TensorType> types(List<Value> values) {
        return values.stream().map(Value::type).toList();
    }
}
