package io.brazier.pass;

import io.brazier.program.GradientBuilder;
import io.brazier.program.Instruction;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Reverse-mode differentiation of a program. The gradient of every value must have the type that {@link
 * io.brazier.tensor.TensorType#gradient()} says, so a collective that is missing or doubled is refused here.
 */
public final class Autodiff {

    /**
     * A forward program, and the backward program that takes what it keeps.
     *
     * @param forward the given program; its outputs are those it had and then the kept values
     * @param backward inputs: values of forward (weights, inputs and kept ones), the gradients of the roots, and in accumulating
     *     programs the earlier sums; outputs: the gradients
     * @param seeds for each root the input of backward that is its gradient
     * @param sums inputs of backward that gradients are added to; empty if they are fresh
     * @param gradients outputs of backward, in the order asked for
     */
    public record Result(
            Program forward,
            Program backward,
            Map<Value, Value> seeds,
            Map<Value, Value> sums,
            Map<Value, Value> gradients) {}

    /** Whether gradients start at zero or are added to sums that backward takes as inputs. */
    public enum Gradients {
        FRESH,
        ACCUMULATE
    }

    private Autodiff() {}

    /** Differentiates one loss with respect to some values. */
    public static Result differentiate(Program forward, Value loss, List<Value> wrt, Gradients mode) {
        return differentiate(forward, List.of(loss), wrt, List.of(), mode);
    }

    /**
     * Differentiates the sum of the roots, each times its seed, with respect to some values.
     *
     * @param forward verified program that defines roots, weights and inputs
     * @param roots values whose gradients backward takes: losses, and what other stages go on with
     * @param weights values whose gradients are fresh or accumulated, as mode says
     * @param inputs values whose gradients are always fresh
     * @throws IllegalArgumentException when an op has no gradient, naming its path
     */
    public static Result differentiate(
            Program forward, List<Value> roots, List<Value> weights, List<Value> inputs, Gradients mode) {
        return new Tape(forward, roots, weights, inputs, mode).run();
    }

    private static final class Tape {
        private final Program forward;
        private final List<Value> roots;
        private final List<Value> wrt;
        private final ProgramBuilder builder;
        private final Set<Value> reached = new HashSet<>();
        private final Map<Value, Value> gradients = new HashMap<>();
        private final Map<Value, Value> sums = new java.util.LinkedHashMap<>();
        private final Set<Value> own = new HashSet<>();
        private final Set<Value> taken = new LinkedHashSet<>();

        Tape(Program forward, List<Value> roots, List<Value> weights, List<Value> inputs, Gradients mode) {
            this.forward = forward;
            this.roots = roots;
            this.wrt = Stream.concat(weights.stream(), inputs.stream()).toList();
            this.builder = new ProgramBuilder(
                    mode == Gradients.FRESH ? "backward" : "backward.accumulate", ProgramBuilder.nextId(forward));
            reached.addAll(wrt);
            for (Instruction i : forward.instructions()) {
                if (i.inputs().stream().anyMatch(reached::contains)) {
                    reached.addAll(i.outputs());
                }
            }
            if (mode == Gradients.ACCUMULATE) {
                for (Value v : weights) {
                    Value sum = builder.input("sum." + v.name(), v.type().gradient());
                    own.add(sum);
                    sums.put(v, sum);
                    gradients.put(v, sum);
                }
            }
        }

        Result run() {
            Map<Value, Value> seeds = new java.util.LinkedHashMap<>();
            for (Value root : roots) {
                Value seed =
                        builder.input(root.name() + ".gradient", root.type().gradient());
                own.add(seed);
                gradients.put(root, seed);
                seeds.put(root, seed);
            }
            List<Instruction> instructions = forward.instructions();
            for (int x = instructions.size() - 1; x >= 0; x--) {
                Instruction i = instructions.get(x);
                boolean used = i.outputs().stream().anyMatch(v -> gradients.containsKey(v) && !wrt.contains(v));
                if (used && i.inputs().stream().anyMatch(reached::contains)) {
                    i.op().differentiate(new Rule(i));
                }
            }
            Map<Value, Value> wanted = new java.util.LinkedHashMap<>();
            for (Value v : wrt) {
                if (gradients.get(v) == null) {
                    throw new IllegalArgumentException(v + " does not reach " + roots);
                }
                wanted.put(v, gradients.get(v));
            }
            Program backward = builder.build(List.copyOf(wanted.values()));
            return new Result(withKept(), backward, seeds, sums, wanted);
        }

        private Program withKept() {
            List<Value> outputs = new ArrayList<>(forward.outputs());
            Set<Value> defined = new HashSet<>();
            forward.instructions().forEach(i -> defined.addAll(i.outputs()));
            taken.stream()
                    .filter(v -> defined.contains(v) && !forward.outputs().contains(v))
                    .forEach(outputs::add);
            return new Program(forward.name(), forward.inputs(), forward.instructions(), outputs);
        }

        private final class Rule implements GradientBuilder {
            private final Instruction instruction;

            Rule(Instruction instruction) {
                this.instruction = instruction;
                for (int x = 1; x < instruction.outputs().size(); x++) {
                    if (!instruction.op().differentiatesAllOutputs()
                            && gradients.containsKey(instruction.outputs().get(x))) {
                        throw new IllegalArgumentException(instruction.path() + ": only the first output of "
                                + instruction.op().mnemonic() + " can be differentiated");
                    }
                }
            }

            @Override
            public Value input(int x) {
                return instruction.inputs().get(x);
            }

            @Override
            public Value output(int x) {
                return instruction.outputs().get(x);
            }

            @Override
            public Value gradient(int x) {
                return gradients.get(output(x));
            }

            @Override
            public boolean wants(int x) {
                return reached.contains(input(x));
            }

            @Override
            public Value partial(int x) {
                return gradients.get(input(x));
            }

            @Override
            public List<Value> emit(Op op, Value... inputs) {
                for (Value v : inputs) {
                    if (!own.contains(v) && taken.add(v)) {
                        builder.input(v);
                    }
                }
                List<Value> outputs = builder.applyAll(instruction.path(), op, inputs);
                own.addAll(outputs);
                return outputs;
            }

            @Override
            public void replace(int x, Value sum) {
                Value v = input(x);
                if (!sum.type().equals(v.type().gradient())) {
                    throw new AssertionError(instruction.path() + ": the gradient of " + v + " " + v.type()
                            + " must be " + v.type().gradient() + ", not " + sum.type());
                }
                gradients.put(v, sum);
            }
        }
    }
}
