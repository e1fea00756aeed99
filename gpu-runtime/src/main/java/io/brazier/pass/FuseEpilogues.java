package io.brazier.pass;

import io.brazier.program.Elementwise.ActivateGrad;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Fused.LinearGrad;
import io.brazier.program.Fused.MatMulGeluGrad;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Lets products of a backward program do in their epilogues what an op beside them would read their operand or result again for: the
 * gradient of a bias beside that of its weight, and the gradient of GELU behind the product that gives its result's gradient. Values keep
 * their names and bits.
 */
public final class FuseEpilogues {
    private final Program program;
    private final Map<Value, List<Instruction>> readers = new HashMap<>();
    private final Set<Instruction> merged = new HashSet<>();

    private FuseEpilogues(Program program) {
        this.program = program;
        for (Instruction i : program.instructions()) {
            Set.copyOf(i.inputs()).forEach(v -> readers.computeIfAbsent(v, k -> new ArrayList<>())
                    .add(i));
        }
    }

    /** Applies the pass to a program before recomputation, so that values of forward and sums so far are its inputs. */
    public static Program apply(Program backward) {
        return new FuseEpilogues(backward).run();
    }

    private Program run() {
        Map<Instruction, Instruction> fused = new HashMap<>();
        for (Instruction i : program.instructions()) {
            if (isPlain(i)) {
                withBiasGradient(i).or(() -> withGeluGradient(i)).ifPresent(f -> fused.put(i, f));
            }
        }
        List<Instruction> instructions = program.instructions().stream()
                .filter(i -> !merged.contains(i))
                .map(i -> fused.getOrDefault(i, i))
                .toList();
        return new Program(program.name(), program.inputs(), instructions, program.outputs());
    }

    private static boolean isPlain(Instruction i) {
        return i.op() instanceof MatMul op && op.bias() == Operand.ABSENT && op.activation() == Activation.NONE;
    }

    /** dw and db, wherever db stood: before, behind a dropout, or after. */
    private Optional<Instruction> withBiasGradient(Instruction product) {
        MatMul op = (MatMul) product.op();
        if (op.transpose() != Transpose.X) {
            return Optional.empty();
        }
        return readers.get(product.inputs().get(1)).stream()
                .filter(i -> i.op().equals(new SumRows(op.addend())) && !merged.contains(i))
                .filter(i -> program.inputs().containsAll(soFar(i)) && !readers.containsKey(result(i)))
                .findFirst()
                .map(sum -> merge(
                        product, sum, new LinearGrad(op.addend()), soFar(sum), List.of(result(product), result(sum))));
    }

    /** What a sum is added to, if anything. */
    private static List<Value> soFar(Instruction sum) {
        return sum.inputs().subList(1, sum.inputs().size());
    }

    private static Value result(Instruction i) {
        return i.outputs().get(0);
    }

    private Optional<Instruction> withGeluGradient(Instruction product) {
        MatMul op = (MatMul) product.op();
        List<Instruction> all = readers.getOrDefault(result(product), List.of());
        boolean isRead = all.size() != 1 || program.outputs().contains(result(product));
        if (op.transpose() == Transpose.X || op.addend() == Operand.PRESENT || isRead) {
            return Optional.empty();
        }
        Instruction slope = all.get(0);
        Value x = slope.inputs().get(0);
        return slope.op().equals(new ActivateGrad(Function.GELU_TANH))
                        && program.inputs().contains(x)
                ? Optional.of(
                        merge(product, slope, new MatMulGeluGrad(op.transpose()), List.of(x), List.of(result(slope))))
                : Optional.empty();
    }

    private Instruction merge(
            Instruction product, Instruction other, Op op, List<Value> moreInputs, List<Value> outputs) {
        merged.add(other);
        List<Value> inputs =
                Stream.concat(product.inputs().stream(), moreInputs.stream()).toList();
        return new Instruction(op, inputs, outputs, product.path());
    }
}
