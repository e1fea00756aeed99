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
import io.brazier.pass.MixedPrecision;
import io.brazier.pass.ScaledProducts;
import io.brazier.program.Instruction;
import io.brazier.program.Program;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.program.Value;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** A small GPT with bf16 weights: its types, and how far loss and gradients lie from those of f32. */
class MixedPrecisionTest {
    private static final double LOSS_ERROR = 0.01;
    private static final double MIN_COSINE = 0.999;

    /** E4M3 rounds by up to 1/16, E5M2 by 1/8, and gradients pass two blocks of such products. */
    private static final double EIGHT_BITS_LOSS_ERROR = 0.02;

    private static final double EIGHT_BITS_MIN_COSINE = 0.97;

    private final Gpt gpt = new Gpt(new GptConfig(17, 8, 2, 2, 16, 32, 1e-5));
    private final ModelBuilder m = new ModelBuilder(
            "gpt",
            new Setting(Mode.TRAINING, RankView.ALONE, Weights.WHOLE, 2, 8, 0),
            List.of(new Unit("gpt", Group.of(), gpt.parameters())));
    private Value loss;
    private Program forward;
    private List<Value> weights;

    @BeforeEach
    void write() {
        Value x = gpt.embed(m, m.tokens("tokens"));
        for (int layer = 0; layer < 2; layer++) {
            x = gpt.block(m, layer, x, (l, qkv) -> m.attend(gpt.heads(m, l), qkv));
        }
        loss = m.loss(1.0 / 16, gpt.head(m, x).values(), m.tokens("targets"), 0);
        forward = m.program().build(List.of(loss));
        weights = List.copyOf(m.weights().values());
    }

    @ParameterizedTest
    @EnumSource(Gradients.class)
    void lossAndGradientsStayNearThoseOfF32(Gradients mode) {
        Autodiff.Result wide = Autodiff.differentiate(forward, loss, weights, mode);
        MixedPrecision pass = MixedPrecision.of(forward);
        Autodiff.Result narrow = pass.derivative(wide);
        assertTypes(wide, pass, narrow);
        assertNear(wide, pass, narrow, LOSS_ERROR, MIN_COSINE);
    }

    /** Scales are those of the tensors themselves, as in a first step. */
    @ParameterizedTest
    @EnumSource(Gradients.class)
    void soTheyDoWithProductsInEightBits(Gradients mode) {
        ScaledProducts.Result scaled =
                ScaledProducts.apply(forward, i -> i.path().startsWith("h."));
        assertEquals(8, scaled.states().size(), "products of two blocks");
        Autodiff.Result wide = Autodiff.differentiate(scaled.program(), loss, weights, mode);
        MixedPrecision pass = MixedPrecision.of(scaled.program(), Set.copyOf(scaled.states()));
        Autodiff.Result narrow = pass.derivative(wide);
        assertTypes(wide, pass, narrow);
        assertEquals(
                16,
                narrow.backward().instructions().stream()
                        .filter(i -> i.op() instanceof ScaledMatMul)
                        .count(),
                "two gradients of each product");
        assertNear(
                Autodiff.differentiate(forward, loss, weights, mode),
                pass,
                narrow,
                EIGHT_BITS_LOSS_ERROR,
                EIGHT_BITS_MIN_COSINE);
    }

    private void assertTypes(Autodiff.Result wide, MixedPrecision pass, Autodiff.Result narrow) {
        for (Value v : weights) {
            assertEquals(DType.BF16, pass.value(v).type().dtype(), v + " computes in bf16");
            assertEquals(DType.F32, narrow.gradients().get(pass.value(v)).type().dtype(), "gradient of " + v);
        }
        assertEquals(DType.F32, narrow.forward().outputs().get(0).type().dtype(), "loss");
        assertEquals(DType.F32, narrow.seeds().get(pass.value(loss)).type().dtype());
        narrow.sums().values().forEach(v -> assertEquals(DType.F32, v.type().dtype(), "sum " + v));
        assertEquals(
                wide.backward().instructions().size(),
                narrow.backward().instructions().size(),
                "casts are not needed");
    }

    private void assertNear(
            Autodiff.Result wide, MixedPrecision pass, Autodiff.Result narrow, double lossError, double minCosine) {
        Map<Value, double[]> inputs = draw(forward);
        Map<Value, double[]> exact = runBoth(wide, inputs);
        Map<Value, double[]> narrowInputs = new HashMap<>();
        for (Value v : narrow.forward().inputs()) {
            narrowInputs.put(v, new double[(int) v.type().shape().numElements()]);
        }
        inputs.forEach((v, values) -> put(narrowInputs, pass.value(v), values));
        Map<Value, double[]> rounded = runBoth(narrow, narrowInputs);
        double expected = exact.get(loss)[0];
        assertEquals(expected, rounded.get(pass.value(loss))[0], lossError * expected, "loss");
        for (Value v : weights) {
            double[] a = exact.get(wide.gradients().get(v));
            double[] b = rounded.get(narrow.gradients().get(pass.value(v)));
            if (dot(a, a) > 1e-12) {
                double cosine = dot(a, b) / Math.sqrt(dot(a, a) * dot(b, b));
                assertTrue(cosine >= minCosine, "gradient of " + v + ": cosine " + cosine);
            }
        }
    }

    private static Map<Value, double[]> draw(Program forward) {
        Random random = new Random(3);
        Map<Value, double[]> inputs = new HashMap<>();
        for (Value v : forward.inputs()) {
            int count = (int) v.type().shape().numElements();
            inputs.put(
                    v,
                    v.type().dtype() == DType.I32
                            ? random.ints(count, 0, 8).asDoubleStream().toArray()
                            : random.doubles(count, -0.7, 0.7).toArray());
        }
        return inputs;
    }

    private static Map<Value, double[]> runBoth(Autodiff.Result r, Map<Value, double[]> inputs) {
        Map<Value, double[]> values = new HashMap<>(inputs);
        run(r.forward(), values);
        r.seeds().values().forEach(seed -> values.put(seed, new double[] {1}));
        r.sums()
                .values()
                .forEach(v -> values.put(v, new double[(int) v.type().shape().numElements()]));
        run(r.backward(), values);
        return values;
    }

    /** The references, with every bf16 value rounded as it is made. */
    private static void run(Program program, Map<Value, double[]> values) {
        for (Instruction i : program.instructions()) {
            List<double[]> in = new ArrayList<>();
            i.inputs().forEach(v -> in.add(values.get(v)));
            List<double[]> out = i.op().reference(i.inputTypes(), in);
            for (int x = 0; x < out.size(); x++) {
                put(values, i.outputs().get(x), out.get(x));
            }
        }
    }

    private static void put(Map<Value, double[]> values, Value v, double[] x) {
        double[] held = x.clone();
        for (int i = 0; i < x.length && v.type().dtype() == DType.BF16; i++) {
            double step = Math.scalb(1.0, Math.getExponent(x[i]) - 7);
            held[i] = Math.rint(x[i] / step) * step;
        }
        values.put(v, held);
    }

    private static double dot(double[] a, double[] b) {
        double sum = 0;
        for (int i = 0; i < a.length; i++) {
            sum += a[i] * b[i];
        }
        return sum;
    }
}
