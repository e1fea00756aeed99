package io.brazier.tests.ops;

import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.Value;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** Runs a program through the plain references, in double precision. */
final class ReferenceInterpreter {
    private ReferenceInterpreter() {}

    /** Values of everything that the program defines, and of its inputs. */
    static Map<Value, double[]> run(Program program, Map<Value, double[]> inputs) {
        Map<Value, double[]> values = new HashMap<>(inputs);
        for (Instruction i : program.instructions()) {
            List<double[]> operands = i.inputs().stream()
                    .map(v -> java.util.Objects.requireNonNull(values.get(v), v.toString()))
                    .toList();
            List<double[]> results = i.op().reference(i.inputTypes(), operands);
            for (int x = 0; x < results.size(); x++) {
                values.put(i.outputs().get(x), results.get(x));
            }
        }
        return values;
    }
}
