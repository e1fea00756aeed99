package io.brazier.pass;

import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Scaled;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.program.Value;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.function.Predicate;

/**
 * Lets products of forward multiply in eight bits (arXiv:2209.05433); their gradient rule does the same for those of backward. Each
 * takes its state of scales as an input of the program, after those that it had. A product whose dims are no multiples of {@value
 * ScaledMatMul#MULTIPLE} stays as it is.
 */
public final class ScaledProducts {

    /**
     * The program with such products; all values that it had are its values still.
     *
     * @param states inputs, in the order of their products
     */
    public record Result(Program program, List<Value> states) {}

    private ScaledProducts() {}

    /** @param chosen whether a product may be one of these */
    public static Result apply(Program forward, Predicate<Instruction> chosen) {
        List<Value> states = new ArrayList<>();
        List<Instruction> instructions = new ArrayList<>();
        int nextId = ProgramBuilder.nextId(forward);
        for (Instruction i : forward.instructions()) {
            if (!chosen.test(i) || !fits(i)) {
                instructions.add(i);
                continue;
            }
            Value state = new Value(nextId++, "scales." + i.path(), Scaled.state());
            Value seen = new Value(nextId++, state.name() + ".seen", state.type());
            states.add(state);
            List<Value> operands = new ArrayList<>(i.inputs());
            operands.add(2, state);
            instructions.add(new Instruction(
                    ScaledMatMul.of((MatMul) i.op()),
                    operands,
                    List.of(i.outputs().get(0), seen),
                    i.path()));
        }
        List<Value> inputs = new ArrayList<>(forward.inputs());
        inputs.addAll(states);
        return new Result(new Program(forward.name(), inputs, instructions, forward.outputs()), List.copyOf(states));
    }

    private static boolean fits(Instruction i) {
        if (!(i.op() instanceof MatMul product) || product.activation() != Activation.NONE) {
            return false;
        }
        TensorType x = i.inputs().get(0).type();
        TensorType y = i.outputs().get(0).type();
        return x.shape().rows() % ScaledMatMul.MULTIPLE == 0
                && x.shape().width() % ScaledMatMul.MULTIPLE == 0
                && y.shape().width() % ScaledMatMul.MULTIPLE == 0;
    }
}
