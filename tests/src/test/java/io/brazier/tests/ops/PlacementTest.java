package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.ReduceScatter;
import io.brazier.program.Collective.Replicate;
import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Group;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Sharding is part of a type: what fits is derived, what does not is refused where it is written. */
class PlacementTest {
    private static final Group TP = Group.of(Axis.TP);

    private static Placement placement(String text) {
        return switch (text) {
            case "I" -> Placement.I;
            case "R" -> Placement.R;
            case "P" -> Placement.P;
            default -> Placement.shard(Integer.parseInt(text.substring(1)));
        };
    }

    private static TensorType type(String placement, long... dims) {
        return TensorType.of(DType.F32, dims).with(Axis.TP, placement(placement));
    }

    @ParameterizedTest
    @CsvSource({
        "I,I,I", "R,R,R", "S0,R,S0", "R,S1,S1", "S1,S0,P", "P,R,P", "R,P,P", // what the calculus allows
        "I,R,-", "I,S1,-", "R,I,-", "S0,I,-", "S0,S1,-", "S1,R,-", "R,S0,-", "P,P,-", "P,S1,-", "S0,P,-"
    })
    void product(String x, String w, String expected) {
        Op op = MatMul.plain(Transpose.NONE);
        List<TensorType> operands = List.of(type(x, 4, 6), type(w, 6, 8));
        if (expected.equals("-")) {
            assertThrows(IllegalArgumentException.class, () -> op.infer(operands));
        } else {
            assertEquals(type(expected, 4, 8), op.infer(operands).get(0));
        }
    }

    @Test
    void refusalNamesModuleOperandsAndRemedy() {
        ProgramBuilder p = new ProgramBuilder("p");
        Value x = p.input("x", type("I", 512, 4096));
        Value w = p.input("w", type("S1", 4096, 2048));
        p.enter("h.3");
        p.enter("mlp.c_fc");
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> p.apply(MatMul.plain(Transpose.NONE), x, w));
        assertEquals(
                "h.3.mlp.c_fc: mat_mul: x f32[512, 4096] by w f32[4096, 2048] tp=S1 on axis tp: replicate x first",
                e.getMessage());
    }

    @ParameterizedTest
    @CsvSource({"I,I", "R,P", "P,R", "S0,S0"})
    void gradientsOfPlacements(String value, String gradient) {
        assertEquals(placement(gradient), placement(value).gradient());
    }

    /** A column-parallel and a row-parallel product (arXiv:1909.08053, fig. 3): all gradients get their dual types. */
    @Test
    void tensorParallelMlpIsClosedUnderDifferentiation() {
        ProgramBuilder p = new ProgramBuilder("mlp");
        Value x = p.input("x", type("I", 4, 6));
        Value up = p.input("up", type("S1", 6, 8));
        Value down = p.input("down", type("S0", 8, 6));
        Value h = p.apply(MatMul.plain(Transpose.NONE), p.apply(new Replicate(TP), x), up);
        Value y = p.apply(MatMul.plain(Transpose.NONE), p.apply(new Activate(Function.GELU_TANH), h), down);
        Value out = p.apply(new AllReduce(TP, 1), y);
        Autodiff.Result result =
                Autodiff.differentiate(p.build(List.of(out)), out, List.of(x, up, down), Gradients.FRESH);
        result.gradients().forEach((v, g) -> assertEquals(v.type().gradient(), g.type()));
        long reductions = result.backward().instructions().stream()
                .filter(i -> i.op() instanceof AllReduce)
                .count();
        assertEquals(1, reductions, "the gradient of x is reduced once");
    }

    /** Without its all-reduce the product is a partial sum, which the next nonlinear op refuses. */
    @Test
    void aMissingAllReduceIsRefused() {
        ProgramBuilder p = new ProgramBuilder("mlp");
        Value x = p.input("x", type("S1", 4, 8));
        Value w = p.input("w", type("S0", 8, 6));
        Value y = p.apply(MatMul.plain(Transpose.NONE), x, w);
        IllegalArgumentException e =
                assertThrows(IllegalArgumentException.class, () -> p.apply(new Activate(Function.RELU), y));
        assertTrue(e.getMessage().contains("all-reduce it first"), e.getMessage());
        Value reduced = p.apply(new AllReduce(TP, 1), y);
        assertThrows(IllegalArgumentException.class, () -> p.apply(new AllReduce(TP, 1), reduced));
    }

    @Test
    void gatherAndScatterAreDual() {
        TensorType shard = type("S0", 3, 5);
        TensorType whole = new AllGather(TP, 4, 0).infer(List.of(shard)).get(0);
        assertEquals(type("R", 12, 5), whole);
        assertEquals(
                shard.gradient(),
                new ReduceScatter(TP, 4, 0).infer(List.of(whole.gradient())).get(0));
    }
}
