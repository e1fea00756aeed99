package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.brazier.program.Attention.Heads;
import io.brazier.program.Rotary;
import io.brazier.program.RotaryScaling;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Placement;
import io.brazier.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Rotary's convention, scaling and placements against numbers worked out from the formulas of Hugging Face's transformers. */
class RotaryTest {
    private static final Rotary SMALL = new Rotary(new Heads(2, 1, 4, 1), 10_000, RotaryScaling.NONE);

    private static TensorType type(DType dtype, String placement, long... dims) {
        Placement p = placement.equals("R") ? Placement.R : Placement.shard(placement.charAt(1) - '0');
        return TensorType.of(dtype, dims).with(Axis.TP, p);
    }

    /** q cos + rotate_half(q) sin at position 3; v, the last head, stays. */
    @Test
    void halvesOfAHeadArePairs() {
        double[] qkv = {0.5, -1.25, 2, 0.75, 0, 0, 0, 0, 0.5, -1.25, 2, 0.75, 0.5, -1.25, 2, 0.75};
        double a = -0.7772362644199571;
        double b = -1.2719341673381062;
        double c = -1.9094249891709572;
        double d = 0.712168150058621;
        double[] expected = {a, b, c, d, 0, 0, 0, 0, a, b, c, d, 0.5, -1.25, 2, 0.75};
        List<TensorType> types = List.of(TensorType.of(DType.F32, 1, 1, 16), TensorType.of(DType.I32, 1, 1));
        assertArrayEquals(
                expected, SMALL.reference(types, List.of(qkv, new double[] {3})).get(0), 1e-12);
    }

    /** Of Llama 3.1: pairs that are kept, mixed and divided by 8. */
    @ParameterizedTest
    @CsvSource({
        "0, 1.0",
        "28, 0.003211445994752591",
        "29, 0.002166570763503359",
        "32, 0.0005248461609929547",
        "34, 0.0001785078127679964",
        "36, 7.78465527393245e-05",
        "63, 3.068925988914511e-07"
    })
    void llama3KeepsFastPairsAndSlowsTheRest(int pair, double expected) {
        Rotary rotary = new Rotary(new Heads(32, 8, 128, 1), 500_000, new RotaryScaling.Llama3(8, 1, 4, 8192));
        assertEquals(expected, rotary.frequencies()[pair], 1e-12 * expected);
    }

    @ParameterizedTest
    @CsvSource({"R,R", "S0,S0", "S1,S1", "S2,R"})
    void positionsAreSplitAsRowsAre(String qkv, String positions) {
        TensorType x = type(DType.F32, qkv, 2, 3, 16);
        assertEquals(List.of(x), SMALL.infer(List.of(x, type(DType.I32, positions, 2, 3))));
    }

    @ParameterizedTest
    @CsvSource({"R,S0", "S0,R", "S1,S0", "S2,S1"})
    void positionsOfOtherRowsAreRefused(String qkv, String positions) {
        List<TensorType> operands = List.of(type(DType.F32, qkv, 2, 3, 16), type(DType.I32, positions, 2, 3));
        assertThrows(IllegalArgumentException.class, () -> SMALL.infer(operands));
    }
}
