package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
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
import io.brazier.pass.FuseEpilogues;
import io.brazier.pass.Overlap;
import io.brazier.pass.Recompute;
import io.brazier.pass.SplitBackward;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Collective;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Elementwise;
import io.brazier.program.Elementwise.ActivateGrad;
import io.brazier.program.Fused;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.Set;
import java.util.function.Function;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** Passes change what a program keeps and when it runs, not one bit of what it computes. */
class PassTest {
    private static final int NUM_LAYERS = 3;

    private final Gpt gpt = new Gpt(new GptConfig(7, 5, NUM_LAYERS, 2, 6, 10, 1e-5));
    private final ModelBuilder model = new ModelBuilder(
            "gpt",
            new Setting(Mode.TRAINING, RankView.ALONE, Weights.WHOLE, 2, 5, 0.2),
            List.of(new Unit("gpt", Group.of(), gpt.parameters())));
    private final Program forward = model();
    private final Autodiff.Result differentiated = Autodiff.differentiate(
            forward, forward.outputs().get(0), List.copyOf(model.weights().values()), Gradients.FRESH);
    private final Map<Value, double[]> before = run(differentiated.forward(), draw(forward));
    private final Map<Value, double[]> after = backward(differentiated.forward(), differentiated.backward());

    private Program model() {
        Value x = gpt.embed(model, model.tokens("tokens"));
        for (int layer = 0; layer < NUM_LAYERS; layer++) {
            x = gpt.block(model, layer, x, (l, qkv) -> model.attend(gpt.heads(model, l), qkv));
        }
        Value logits = gpt.head(model, x).values();
        return model.program().build(List.of(model.loss(0.1, logits, model.tokens("targets"), 0)));
    }

    private static Map<Value, double[]> draw(Program program) {
        Random random = new Random(3);
        Map<Value, double[]> inputs = new HashMap<>();
        for (Value v : program.inputs()) {
            int count = (int) v.type().shape().numElements();
            inputs.put(
                    v,
                    OpCase.integer(v.type())
                            ? random.ints(count, 0, 5).asDoubleStream().toArray()
                            : random.doubles(count, -0.7, 0.7).toArray());
        }
        return inputs;
    }

    /** Runs a program with nothing but its inputs, and forgets all but these and its outputs. */
    private static Map<Value, double[]> run(Program program, Map<Value, double[]> inputs) {
        Map<Value, double[]> given = new HashMap<>(inputs);
        given.keySet().retainAll(program.inputs());
        Map<Value, double[]> values = ReferenceInterpreter.run(program, given);
        values.keySet()
                .retainAll(Stream.concat(program.inputs().stream(), program.outputs().stream())
                        .toList());
        return values;
    }

    private Map<Value, double[]> backward(Program forward, Program backward) {
        Map<Value, double[]> values = run(forward, draw(this.forward));
        values.put(differentiated.seeds().get(forward.outputs().get(0)), new double[] {1.5});
        return run(backward, values);
    }

    private void assertSameGradients(Map<Value, double[]> found) {
        for (Value v : differentiated.backward().outputs()) {
            assertArrayEquals(after.get(v), found.get(v), 0, v.toString());
        }
    }

    private static Optional<String> layer(Instruction i) {
        String[] parts = i.path().split("\\.");
        return parts[0].equals("h") ? Optional.of("h." + parts[1]) : Optional.empty();
    }

    private static Optional<String> attention(Instruction i) {
        return i.op() instanceof CausalAttention ? Optional.of(i.path()) : Optional.empty();
    }

    private static Optional<String> everything(Instruction i) {
        return Optional.of("model");
    }

    private static Optional<String> each(Instruction i) {
        return Optional.of(i.outputs().toString());
    }

    /** A layer has four linear layers and one GELU. */
    @Test
    void fusedEpiloguesKeepTheGradients() {
        Program fused = FuseEpilogues.apply(differentiated.backward());
        assertSameGradients(backward(differentiated.forward(), fused));
        Map<Class<?>, Long> removed = count(differentiated.backward());
        count(fused).forEach((op, number) -> removed.merge(op, -number, Long::sum));
        removed.values().removeIf(number -> number == 0);
        assertEquals(
                Map.of(
                        MatMul.class, 5L * NUM_LAYERS,
                        SumRows.class, 4L * NUM_LAYERS,
                        ActivateGrad.class, 1L * NUM_LAYERS,
                        Fused.LinearGrad.class, -4L * NUM_LAYERS,
                        Fused.MatMulGeluGrad.class, -1L * NUM_LAYERS),
                removed);
    }

    private static Map<Class<?>, Long> count(Program program) {
        return program.instructions().stream()
                .collect(Collectors.groupingBy(i -> i.op().getClass(), Collectors.counting()));
    }

    /** A gradient that others read too, or that is wanted itself, is not multiplied by GELU's slope in passing. */
    @Test
    void gradientsThatOthersReadAreNotFused() {
        ProgramBuilder p = new ProgramBuilder("backward");
        TensorType square = TensorType.of(DType.F32, 4, 4);
        Value dy = p.input("dy", square);
        Value w = p.input("w", square);
        Value x = p.input("x", square);
        Value dh = p.apply(MatMul.plain(Transpose.W), dy, w);
        Value dx = p.apply(new ActivateGrad(Elementwise.Function.GELU_TANH), x, dh);
        Value both = p.apply(new Elementwise.Add(), dh, dx);
        Value remade = p.apply(new Elementwise.Scale(2), x);
        Value other = p.apply(MatMul.plain(Transpose.W), dy, w);
        Value late = p.apply(new ActivateGrad(Elementwise.Function.GELU_TANH), remade, other);
        Value erf =
                p.apply(new ActivateGrad(Elementwise.Function.GELU), x, p.apply(MatMul.plain(Transpose.NONE), dy, w));
        Value wanted = p.apply(MatMul.plain(Transpose.NONE), dy, w);
        Value last = p.apply(new ActivateGrad(Elementwise.Function.GELU_TANH), x, wanted);
        Program backward = p.build(List.of(both, late, erf, wanted, last));
        assertEquals(backward, FuseEpilogues.apply(backward));
    }

    @Test
    void recomputeKeepsTheGradients() {
        List<Function<Instruction, Optional<String>>> scopes = List.of(
                PassTest::layer, PassTest::attention, PassTest::everything, PassTest::each, i -> Optional.empty());
        for (Function<Instruction, Optional<String>> scope : scopes) {
            Recompute.Result result = Recompute.apply(forward, differentiated.backward(), scope);
            assertEquals(differentiated.backward().outputs(), result.backward().outputs());
            assertEquals(
                    before.get(forward.outputs().get(0))[0],
                    run(result.forward(), draw(forward)).get(forward.outputs().get(0))[0]);
            assertSameGradients(backward(result.forward(), result.backward()));
        }
    }

    /** Of the layers only what one hands to the next stays, and each runs again where its gradients begin. */
    @Test
    void recomputeKeepsLayerInputs() {
        Recompute.Result result = Recompute.apply(forward, differentiated.backward(), PassTest::layer);
        Map<Value, Instruction> definition = new HashMap<>();
        forward.instructions().forEach(i -> i.outputs().forEach(v -> definition.put(v, i)));
        List<Value> kept = result.forward().outputs().stream()
                .filter(v -> layer(definition.get(v)).isPresent())
                .toList();
        assertEquals(NUM_LAYERS - 1, kept.size(), kept.toString());
        kept.forEach(v -> assertEquals(Shape.of(2, 5, 6), v.type().shape()));
        List<Integer> attentions = new ArrayList<>();
        List<Instruction> instructions = result.backward().instructions();
        for (int x = 0; x < instructions.size(); x++) {
            if (instructions.get(x).op() instanceof CausalAttention) {
                attentions.add(x);
            }
        }
        assertEquals(NUM_LAYERS, attentions.size());
        for (int n = 0; n < NUM_LAYERS; n++) {
            assertEquals(Optional.of("h." + (NUM_LAYERS - 1 - n)), layer(instructions.get(attentions.get(n))));
        }
        Program none = Recompute.apply(forward, differentiated.backward(), i -> Optional.empty())
                .backward();
        assertEquals(differentiated.backward(), none);
    }

    @Test
    void splitKeepsTheGradients() {
        Value deepest = differentiated.backward().outputs().stream()
                .filter(v ->
                        v.equals(differentiated.gradients().get(model.weights().get("wpe.weight"))))
                .findFirst()
                .orElseThrow();
        SplitBackward.Halves halves = SplitBackward.split(differentiated.backward(), Set.of(deepest));
        Map<Value, double[]> values = run(differentiated.forward(), draw(forward));
        values.put(differentiated.seeds().get(forward.outputs().get(0)), new double[] {1.5});
        Map<Value, double[]> found = run(halves.input(), values);
        values.putAll(found);
        found.putAll(run(halves.weight(), values));
        assertSameGradients(found);
        assertTrue(halves.input().outputs().containsAll(halves.carried()));
        assertEquals(
                differentiated.backward().flops(),
                halves.input().flops() + halves.weight().flops(),
                1e-6 * halves.input().flops());
        long products = halves.weight().instructions().stream()
                .filter(i -> i.op() instanceof MatMul)
                .count();
        assertTrue(products >= 4 * NUM_LAYERS, products + " weight gradients were put off");
    }

    @ParameterizedTest
    @ValueSource(ints = {1, 2, 7})
    void overlapKeepsValuesAndOrder(int distance) {
        Group dp = Group.of(Axis.DP);
        TensorType weight = new TensorType(DType.F32, Shape.of(8, 8), Map.of(Axis.DP, Placement.R));
        TensorType shard = new TensorType(DType.F32, Shape.of(64), Map.of(Axis.DP, Placement.shard(0)));
        ProgramBuilder p = new ProgramBuilder("zero");
        Value x = p.input("x", new TensorType(DType.F32, Shape.of(4, 8), Map.of(Axis.DP, Placement.shard(0))));
        List<Value> shards = new ArrayList<>();
        for (int n = 0; n < 5; n++) {
            shards.add(p.input("shard" + n, shard));
            Value w = p.apply(new GatherWeights(dp, 1, List.of(weight)), shards.get(n));
            x = p.apply(MatMul.plain(Transpose.NONE), x, w);
        }
        Program plain = p.build(List.of(x));
        Autodiff.Result result = Autodiff.differentiate(plain, x, shards, Gradients.FRESH);
        Recompute.Result regather = Recompute.apply(
                plain,
                result.backward(),
                i -> i.op() instanceof GatherWeights ? Optional.of(i.outputs().toString()) : Optional.empty());
        for (Program program : List.of(plain, result.backward(), regather.backward())) {
            Program overlapped = Overlap.apply(program, distance);
            Map<Value, double[]> inputs = draw(program);
            Map<Value, double[]> expected = run(program, inputs);
            Map<Value, double[]> found = run(overlapped, inputs);
            for (Value v : program.outputs()) {
                assertArrayEquals(expected.get(v), found.get(v), 0, v.toString());
            }
            assertInFlight(overlapped, distance);
            assertEquals(order(program, GatherWeights.class), order(overlapped, GatherWeights.class));
            assertEquals(
                    order(program, Collective.ScatterGradients.class),
                    order(overlapped, Collective.ScatterGradients.class));
        }
    }

    /** All gathers and scatters fly, and no more of them at once than asked for. */
    private static void assertInFlight(Program program, int distance) {
        Map<Class<?>, Integer> flying = new HashMap<>();
        for (Instruction i : program.instructions()) {
            if (i.op() instanceof Collective.Start start) {
                int count = flying.merge(start.collective().getClass(), 1, Integer::sum);
                assertTrue(count <= distance + 1, program.toString());
            } else if (i.op() instanceof Collective.Wait) {
                Instruction begin = program.instructions().stream()
                        .filter(s -> s.outputs().contains(i.inputs().get(0)))
                        .findFirst()
                        .orElseThrow();
                flying.merge(((Collective.Start) begin.op()).collective().getClass(), -1, Integer::sum);
            }
            assertTrue(
                    !(i.op() instanceof GatherWeights || i.op() instanceof Collective.ScatterGradients),
                    i + " does not fly");
        }
    }

    private static String order(Program program, Class<?> type) {
        return program.instructions().stream()
                .filter(i -> type.isInstance(i.op())
                        || i.op() instanceof Collective.Start start && type.isInstance(start.collective()))
                .map(i -> i.inputs().toString())
                .collect(Collectors.joining());
    }
}
