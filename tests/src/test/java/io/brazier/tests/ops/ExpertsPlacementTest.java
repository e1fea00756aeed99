package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.pass.Autodiff;
import io.brazier.pass.Autodiff.Gradients;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Elementwise.Share;
import io.brazier.program.Experts;
import io.brazier.program.Gated;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Routing;
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

/** Placements of mixtures of experts: data over dp, sequences over cp, experts over ep, their columns over tp. */
class ExpertsPlacementTest {
    private static final Placement S0 = Placement.shard(0);
    private static final Placement S1 = Placement.shard(1);
    private static final Placement S2 = Placement.shard(2);

    private static Placement placement(String text) {
        return switch (text) {
            case "I" -> Placement.I;
            case "R" -> Placement.R;
            case "P" -> Placement.P;
            default -> Placement.shard(Integer.parseInt(text.substring(1)));
        };
    }

    private static TensorType on(String placement, DType dtype, long... dims) {
        return TensorType.of(dtype, dims).with(Axis.TP, placement(placement));
    }

    @ParameterizedTest
    @CsvSource({
        "I,I,I",
        "R,R,R",
        "S0,S0,S0",
        "S1,R,S1",
        "R,S2,S2",
        "S2,S1,P",
        "P,R,P",
        "R,P,P", // what the calculus allows
        "I,R,-",
        "R,I,-",
        "S0,R,-",
        "R,S0,-",
        "S1,S1,-",
        "S2,R,-",
        "R,S1,-",
        "P,P,-",
        "P,S2,-",
        "S2,S2,-"
    })
    void batchedProduct(String x, String w, String expected) {
        List<TensorType> operands = List.of(on(x, DType.F32, 2, 4, 6), on(w, DType.F32, 2, 6, 8));
        BatchedMatMul op = BatchedMatMul.plain(Transpose.NONE);
        if (expected.equals("-")) {
            assertThrows(IllegalArgumentException.class, () -> op.infer(operands));
        } else {
            assertEquals(on(expected, DType.F32, 2, 4, 8), op.infer(operands).get(0));
        }
    }

    /** Buffer, slots, gates. */
    @ParameterizedTest
    @CsvSource({
        "I,I,I,I",
        "R,R,R,R",
        "R,I,R,R",
        "P,R,R,P",
        "R,R,P,P",
        "S1,S0,S0,S0",
        "S0,S0,S0,-",
        "S0,R,R,-",
        "S1,R,R,-",
        "S1,S0,R,-",
        "P,R,P,-",
        "P,R,I,-",
        "S2,R,R,-"
    })
    void combine(String buffer, String slots, String gates, String expected) {
        List<TensorType> operands =
                List.of(on(buffer, DType.F32, 2, 4, 6), on(slots, DType.I32, 5, 2), on(gates, DType.F32, 5, 2));
        Experts.Combine op = new Experts.Combine(Operand.PRESENT);
        if (expected.equals("-")) {
            assertThrows(IllegalArgumentException.class, () -> op.infer(operands));
        } else {
            assertEquals(on(expected, DType.F32, 5, 6), op.infer(operands).get(0));
        }
    }

    /** Counts that are not those of all tokens yet are refused, with the remedy. */
    @Test
    void balanceNeedsReducedCounts() {
        TensorType p = on("S0", DType.F32, 5, 4);
        TensorType experts = on("S0", DType.I32, 5, 2);
        TensorType counts =
                new Routing.AssignSlots(4, 3).infer(List.of(experts)).get(1);
        assertEquals(on("P", DType.F32, 4), counts);
        Routing.LoadBalance loss = new Routing.LoadBalance(0.01, 2, 10);
        IllegalArgumentException e = assertThrows(IllegalArgumentException.class, () -> loss.infer(List.of(p, counts)));
        assertTrue(e.getMessage().endsWith("all-reduce them on axis tp"), e.getMessage());
        assertEquals(
                on("P", DType.F32, 1),
                loss.infer(List.of(p, on("I", DType.F32, 4))).get(0));
    }

    /** All axes at once: the layer's output is partial over tp, and all gradients get their dual types. */
    @Test
    void aLayerIsClosedUnderDifferentiation() {
        ProgramBuilder p = new ProgramBuilder("experts");
        TensorType rows = data(TensorType.of(DType.F32, 2, 3, 6), Placement.R);
        Value x = p.input("x", rows);
        Value router =
                p.input("router", weights(6, 4).with(Axis.EP, Placement.R).with(Axis.TP, Placement.R));
        Value up = p.input("up", weights(2, 6, 8).with(Axis.EP, S0).with(Axis.TP, S2));
        Value down = p.input("down", weights(2, 4, 6).with(Axis.EP, S0).with(Axis.TP, S1));
        Value probabilities = p.apply(new Routing.Softmax(), p.apply(MatMul.plain(Transpose.NONE), x, router));
        List<Value> chosen = p.applyAll("top", new Routing.TopK(2, Routing.Gates.RENORMALISED), probabilities);
        List<Value> slots = p.applyAll("slots", new Routing.AssignSlots(4, 3), chosen.get(1));
        Value buffer = p.apply(new Experts.Dispatch(4, 3, Operand.ABSENT), x, slots.get(0));
        Group ep = Group.of(Axis.EP);
        Value mine = p.apply(new AllToAll(ep, 2, 1, 0), buffer);
        Value hidden = p.apply(new Gated(Function.SILU), p.apply(BatchedMatMul.plain(Transpose.NONE), mine, up));
        Value y = p.apply(BatchedMatMul.plain(Transpose.NONE), hidden, down);
        Value back = p.apply(new AllToAll(ep, 2, 0, 1), y);
        Value out = p.apply(new Experts.Combine(Operand.PRESENT), back, slots.get(0), chosen.get(0));
        assertEquals(data(TensorType.of(DType.F32, 2, 3, 6), Placement.P), out.type());
        check(p, out, List.of(x, router, up, down));

        Value counts = p.apply(new AllReduce(Group.of(Axis.DP, Axis.CP, Axis.EP), 1), slots.get(1));
        Value loss = p.apply(new Routing.LoadBalance(0.01, 2, 48), probabilities, counts);
        Value shared = p.apply(new Share(Group.of(Axis.TP), 2), loss);
        assertTrue(shared.type().placements().values().stream().allMatch(Placement.P::equals), shared.toString());
        check(p, shared, List.of(x, router));
    }

    private static void check(ProgramBuilder p, Value y, List<Value> wrt) {
        Autodiff.differentiate(p.build(List.of(y)), y, wrt, Gradients.FRESH)
                .gradients()
                .forEach((v, g) -> assertEquals(v.type().gradient(), g.type()));
    }

    private static TensorType data(TensorType type, Placement onTp) {
        return type.with(Axis.DP, S0).with(Axis.EP, S0).with(Axis.CP, S1).with(Axis.TP, onTp);
    }

    private static TensorType weights(long... dims) {
        return TensorType.of(DType.F32, dims).with(Axis.DP, Placement.R).with(Axis.CP, Placement.R);
    }
}
