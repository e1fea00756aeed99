package io.brazier.sim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.brazier.program.Attention.CausalAttention;
import io.brazier.program.Attention.Heads;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Elementwise.Activate;
import io.brazier.program.Elementwise.Function;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.program.Program;
import io.brazier.program.ProgramBuilder;
import io.brazier.program.Value;
import io.brazier.sim.OpCost.Product;
import io.brazier.tensor.DType;
import io.brazier.tensor.TensorType;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OpCostTest {
    private static final Hardware A100 = Hardware.named("a100");
    private static final Hardware H100 = Hardware.named("h100");

    private static double rate(Hardware hardware, long rows, long columns, long contracted) {
        double flops = 2.0 * rows * columns * contracted;
        return flops / seconds(hardware, rows, columns, contracted) / hardware.peak(DType.BF16);
    }

    private static double seconds(Hardware hardware, long rows, long columns, long contracted) {
        return new OpCost(hardware, 1).seconds(new Product(DType.BF16, DType.BF16, 1, rows, columns, contracted));
    }

    private static Instruction instruction(Op op, TensorType x) {
        ProgramBuilder p = new ProgramBuilder("one");
        List<Value> out = p.applyAll("op", op, p.input("x", x));
        Program program = p.build(out);
        return program.instructions().get(0);
    }

    @Test
    void largeProductsReachTheSustainedPeakAndNoMore() {
        for (Hardware hardware : List.of(A100, H100)) {
            // Whole waves of the largest tile: 108 and 132 processors.
            double rate = rate(hardware, 256 * 108, 256 * 132, 16384);
            double sustained = hardware.products().peakFraction();
            assertTrue(rate <= sustained && rate > 0.95 * sustained, hardware.name() + " " + rate);
        }
    }

    /** What was measured with operands of normal deviates, by the sources in the hardware files. */
    @Test
    void productsOfNoiseReachWhatThePowerLimitAllows() {
        assertEquals(257.0 / 312, rate(A100, 8192, 8192, 8192), 0.01);
        assertEquals(720.0 / 989.4, rate(H100, 8192, 8192, 8192), 0.02);
    }

    /** Short runs at the boost clock, TFLOP/s of an H100 in OpenXLA's matmul_interpolator_data.h. */
    @ParameterizedTest
    @CsvSource({
        "4096, 4096, 4096, 783",
        "4096, 4096, 1024, 677",
        "2048, 2048, 4096, 738",
        "2048, 2048, 2048, 632",
        "1024, 4096, 2048, 634",
        "4096, 2048, 1024, 593",
        "1024, 2048, 2048, 524",
        "4096, 512, 1024, 371"
    })
    void productsOfManyShapesTakeWhatWasMeasured(long rows, long columns, long contracted, double teraflops) {
        ObjectNode file = HardwareTest.file("h100.json");
        ((ObjectNode) file.get("products")).put("peakFraction", 0.836);
        Hardware boosted = Hardware.parse("boosted.json", file);
        double seconds = seconds(boosted, rows, columns, contracted) + boosted.kernelSeconds();
        double measured = 2.0 * rows * columns * contracted / (teraflops * 1e12);
        assertEquals(measured, seconds, 0.15 * measured);
    }

    @Test
    void aTileTooManyCostsAWave() {
        // 108 tiles of 256 x 128 are one wave on 108 multiprocessors.
        double one = seconds(A100, 256 * 12, 128 * 9, 8192);
        double two = seconds(A100, 256 * 12, 128 * 9 + 128, 8192);
        assertTrue(two > 1.1 * one, one + " " + two);
        double padded = seconds(A100, 256 * 12 - 1, 128 * 9, 8192);
        assertEquals(one, padded, 1e-12);
    }

    @Test
    void shortContractionsPayForTheirFill() {
        double last = 0;
        for (int contracted = 64; contracted <= 16384; contracted *= 2) {
            double rate = rate(A100, 4096, 4096, contracted);
            assertTrue(rate > last, contracted + " " + rate);
            last = rate;
        }
    }

    @Test
    void fewTilesAreSplitAlongTheContraction() {
        // Without splits a single tile would leave 107 of 108 multiprocessors idle.
        assertTrue(rate(A100, 256, 128, 65536) > 3.0 / 108);
    }

    /** 4 experts with 27 tiles each fill the 108 multiprocessors as one product with 108 tiles does. */
    @Test
    void expertsFillTheProcessorsTogether() {
        ProgramBuilder p = new ProgramBuilder("experts");
        Value x = p.input("x", TensorType.of(DType.F32, 4, 256 * 3, 4096));
        Value w = p.input("w", TensorType.of(DType.F32, 4, 4096, 128 * 9));
        Value y = p.apply(BatchedMatMul.plain(Transpose.NONE), x, w);
        Instruction i = p.build(List.of(y)).instructions().get(0);
        double one = new OpCost(A100, 1).seconds(new Product(DType.F32, DType.F32, 1, 256 * 12, 128 * 9, 4096));
        assertEquals(one + A100.kernelSeconds(), new OpCost(A100, 1).seconds(i), 1e-12);
    }

    @Test
    void elementwiseOpsTakeTheTimeOfTheirBytes() {
        TensorType x = TensorType.of(DType.F32, 4096, 8192);
        double seconds = new OpCost(A100, 1).seconds(instruction(new Activate(Function.GELU_TANH), x));
        double stream = 2 * 4096.0 * 8192 * 4 / (2039e9 * 0.87);
        assertEquals(stream + A100.kernelSeconds(), seconds, 1e-9);
    }

    @Test
    void attentionIsSlowerOnShortSequences() {
        Instruction i = instruction(
                new CausalAttention(new Heads(8, 8, 128, 0.1)), TensorType.of(DType.F32, 2, 2048, 3 * 8 * 128));
        double fraction = 0.73 * 2048 / (2048 + 320);
        assertEquals(i.flops() / (19.5e12 * fraction) + A100.kernelSeconds(), new OpCost(A100, 1).seconds(i), 1e-9);
    }
}
