package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.nn.ModelBuilder;
import io.brazier.nn.ModelBuilder.Mode;
import io.brazier.nn.ModelBuilder.Setting;
import io.brazier.nn.ModelBuilder.Weights;
import io.brazier.nn.RankView;
import io.brazier.nn.Unit;
import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.program.Attention;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Cast;
import io.brazier.program.Elementwise;
import io.brazier.program.Experts;
import io.brazier.program.Gated;
import io.brazier.program.Lookup;
import io.brazier.program.Loss;
import io.brazier.program.Matrix;
import io.brazier.program.Norm;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Ring;
import io.brazier.program.Rotary;
import io.brazier.program.Routing;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

/** Gradient rules against central differences of the plain references, in double precision. */
class GradientTest {
    private static final double STEP = 1e-5;
    private static final double TOLERANCE = 1e-6;
    private static final int MAX_ELEMENTS = 600;

    static Stream<OpCase> differentiable() {
        return OpCases.all().stream().filter(c -> hasGradient(c.op())).filter(c -> c.operands().stream()
                .allMatch(o -> o.type().shape().numElements() <= MAX_ELEMENTS));
    }

    private static boolean hasGradient(Op op) {
        if (op instanceof Matrix.MatMul m) {
            return m.transpose() != Matrix.Transpose.X && m.activation() == Matrix.Activation.NONE;
        }
        if (op instanceof BatchedMatMul m) {
            return m.transpose() != Matrix.Transpose.X;
        }
        return op instanceof Elementwise.Activate
                || op instanceof Elementwise.Add
                || op instanceof Elementwise.Scale
                || op instanceof Cast c && c.to() == DType.F32
                || op instanceof Elementwise.Share
                || op instanceof Elementwise.Dropout
                || op instanceof Gated
                || op instanceof Norm.LayerNorm
                || op instanceof Norm.RmsNorm
                || op instanceof Rotary
                || op instanceof Attention.CausalAttention
                || op instanceof Ring.RingAttention
                || op instanceof Lookup.Embedding
                || op instanceof Routing.Softmax
                || op instanceof Routing.TopK
                || op instanceof Routing.LoadBalance
                || op instanceof Experts.Dispatch
                || op instanceof Experts.Combine
                || op instanceof Loss.CrossEntropy;
    }

    @ParameterizedTest
    @MethodSource("differentiable")
    void ruleMatchesCentralDifferences(OpCase c) {
        ProgramBuilder p = new ProgramBuilder("op");
        List<double[]> drawn = c.draw(11);
        Map<Value, double[]> inputs = new HashMap<>();
        List<Value> operands = new ArrayList<>();
        for (int x = 0; x < drawn.size(); x++) {
            operands.add(p.input("x" + x, c.types().get(x)));
            inputs.put(operands.get(x), drawn.get(x));
        }
        Value y = p.applyAll("op", c.op(), operands.toArray(Value[]::new)).get(0);
        List<Value> wrt = operands.stream()
                .filter(v -> !OpCase.integer(v.type()))
                .filter(v -> !(c.op() instanceof Routing.LoadBalance) || v == operands.get(0))
                .toList();
        for (Gradients mode : Gradients.values()) {
            check(p.build(List.of(y)), y, wrt, inputs, mode, MAX_ELEMENTS);
        }
    }

    @ParameterizedTest
    @EnumSource(Gradients.class)
    void wholeModelMatchesCentralDifferences(Gradients mode) {
        Gpt gpt = new Gpt(new GptConfig(7, 5, 2, 2, 6, 10, 1e-5));
        RankView view = new RankView(Mesh.dataParallel(2), 0, false);
        Unit unit = new Unit("gpt", Group.of(Axis.DP), gpt.parameters());
        ModelBuilder m =
                new ModelBuilder("gpt", new Setting(Mode.TRAINING, view, Weights.WHOLE, 2, 5, 0.2), List.of(unit));
        Value tokens = m.tokens("tokens");
        Value positions = m.positions();
        Value targets = m.tokens("targets");
        Value x = gpt.embed(m, tokens);
        for (int layer = 0; layer < 2; layer++) {
            x = gpt.block(m, layer, x, (l, qkv) -> m.attend(gpt.heads(m, l), qkv));
        }
        Value loss = m.loss(0.1, gpt.head(m, x).values(), targets, 0);
        Program forward = m.program().build(List.of(loss));
        Random random = new Random(3);
        Map<Value, double[]> inputs = new HashMap<>();
        for (Value v : forward.inputs()) {
            inputs.put(
                    v, random.doubles(v.type().shape().numElements(), -0.7, 0.7).toArray());
        }
        inputs.put(tokens, random.ints(10, 0, 7).asDoubleStream().toArray());
        inputs.put(targets, random.ints(10, -1, 7).asDoubleStream().toArray());
        inputs.put(positions, new double[] {0, 1, 2, 3, 4, 0, 1, 2, 3, 4});
        forward.inputs().stream()
                .filter(v -> v.name().equals("rng"))
                .forEach(v -> inputs.put(v, new double[] {5, 3, 2}));
        Map<Value, double[]> values = ReferenceInterpreter.run(forward, inputs);
        m.weights().values().forEach(w -> inputs.put(w, values.get(w)));
        check(withoutReplicate(forward, m), loss, List.copyOf(m.weights().values()), inputs, mode, 12);
    }

    /** The forward program with its replicated weights as inputs, so that they can be changed one by one. */
    private static Program withoutReplicate(Program forward, ModelBuilder m) {
        List<Value> inputs = new ArrayList<>(forward.inputs());
        inputs.addAll(m.weights().values());
        return new Program(
                forward.name(),
                inputs,
                forward.instructions().stream()
                        .filter(i -> !m.weights().containsValue(i.outputs().get(0)))
                        .toList(),
                forward.outputs());
    }

    /** Compares at most maxElements elements of each gradient. */
    private static void check(
            Program forward, Value y, List<Value> wrt, Map<Value, double[]> inputs, Gradients mode, int maxElements) {
        Autodiff.Result result = Autodiff.differentiate(forward, y, wrt, mode);
        Random random = new Random(13);
        Map<Value, double[]> values = ReferenceInterpreter.run(result.forward(), inputs);
        double[] dy = random.doubles(values.get(y).length, -1, 1).toArray();
        values.put(result.seeds().get(y), dy);
        for (Value sum : result.sums().values()) {
            values.put(
                    sum, random.doubles(sum.type().shape().numElements(), -1, 1).toArray());
        }
        Map<Value, double[]> before = new HashMap<>(values);
        Map<Value, double[]> after = ReferenceInterpreter.run(result.backward(), values);
        for (Value v : wrt) {
            assertEquals(v.type().gradient(), result.gradients().get(v).type());
            double[] gradient = after.get(result.gradients().get(v));
            for (int e : sample(gradient.length, maxElements, random)) {
                double numeric = centralDifference(forward, y, dy, inputs, v, e);
                double sum =
                        result.sums().containsKey(v) ? before.get(result.sums().get(v))[e] : 0;
                double error = Math.abs(gradient[e] - sum - numeric);
                assertTrue(
                        error <= TOLERANCE * Math.max(1, Math.abs(numeric)),
                        forward.name() + " gradient of " + v + "[" + e + "] is " + (gradient[e] - sum) + ", not "
                                + numeric);
            }
        }
    }

    private static int[] sample(int length, int max, Random random) {
        return length <= max
                ? java.util.stream.IntStream.range(0, length).toArray()
                : random.ints(max, 0, length).toArray();
    }

    private static double centralDifference(
            Program forward, Value y, double[] dy, Map<Value, double[]> inputs, Value v, int element) {
        double[] sides = new double[2];
        for (int side = 0; side < 2; side++) {
            double[] moved = inputs.get(v).clone();
            moved[element] += side == 0 ? STEP : -STEP;
            Map<Value, double[]> changed = new HashMap<>(inputs);
            changed.put(v, moved);
            double[] out = ReferenceInterpreter.run(forward, changed).get(y);
            for (int i = 0; i < out.length; i++) {
                sides[side] += out[i] * dy[i];
            }
        }
        return (sides[0] - sides[1]) / (2 * STEP);
    }
}
