package io.brazier.nn;

import io.brazier.program.Collective;
import io.brazier.program.Elementwise;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/** A program under construction together with the model's weights in it. */
public final class ModelBuilder {

    /** Whether weights are used as they are, or replicated over dp so that their gradients are partial sums. */
    public enum Mode {
        INFERENCE,
        TRAINING
    }

    private final ProgramBuilder program;
    private final Mode mode;
    private final double dropout;
    private final Map<String, Value> parameters = new LinkedHashMap<>();
    private final Map<String, Value> weights = new LinkedHashMap<>();
    private Value rng;
    private int numDropouts;

    /** @param dropout rate of every {@link #dropout} */
    public ModelBuilder(String name, Mode mode, List<ParameterSpec> specs, double dropout) {
        this.program = new ProgramBuilder(name);
        this.mode = mode;
        this.dropout = dropout;
        for (ParameterSpec spec : specs) {
            Value parameter = program.input(spec.name(), spec.type());
            parameters.put(spec.name(), parameter);
            weights.put(
                    spec.name(),
                    mode == Mode.INFERENCE
                            ? parameter
                            : program.applyAll(spec.name(), new Collective.Replicate(Group.of(Axis.DP)), parameter)
                                    .get(0));
        }
        if (dropout > 0) {
            rng = program.input("rng", TensorType.of(DType.I64, 3));
        }
    }

    public ProgramBuilder program() {
        return program;
    }

    public Mode mode() {
        return mode;
    }

    /** An i32 input whose rows are split over dp when training. */
    public Value rows(String name, long... dims) {
        TensorType type = TensorType.of(DType.I32, dims);
        return program.input(name, mode == Mode.INFERENCE ? type : type.with(Axis.DP, Placement.shard(0)));
    }

    /** A weight of the current module, as data sees it. */
    public Value weight(String name) {
        String path = program.path().isEmpty() ? name : program.path() + "." + name;
        Value weight = weights.get(path);
        if (weight == null) {
            throw new AssertionError("the model declares no parameter " + path);
        }
        return weight;
    }

    /** Parameters by name, as the program's inputs. */
    public Map<String, Value> parameters() {
        return parameters;
    }

    /** Weights by name, as data sees them. */
    public Map<String, Value> weights() {
        return weights;
    }

    /** Dropout at the model's rate; x itself when that is 0. */
    public Value dropout(Value x) {
        return dropout == 0 ? x : program.apply(new Elementwise.Dropout(dropout, numDropouts++), x, rng);
    }

    /** x + branch, with dropout on the branch. */
    public Value residual(Value x, Value branch) {
        return program.apply(new Elementwise.Add(), x, dropout(branch));
    }

    /** Whether residual branches come straight from a product, so that the sum can ride in its epilogue. */
    public boolean fusesResiduals() {
        return dropout == 0;
    }
}
