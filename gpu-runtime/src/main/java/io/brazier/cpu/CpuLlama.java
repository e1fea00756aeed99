package io.brazier.cpu;

import io.brazier.program.Gated;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.Operand;
import io.brazier.program.Norm;
import io.brazier.program.Rotary;
import io.brazier.tensor.Shape;

/** Lowers the ops that Llama-like models add: root-mean-square norm, rotary positions, gated units. */
final class CpuLlama {
    private CpuLlama() {}

    static void putInto(CpuBackend backend) {
        norms(backend);
        backend.put(Rotary.class, (op, i, a) -> rotary(op, i, a.input(0), a.input(1), a.output(0), false));
        backend.put(
                Rotary.RotaryGrad.class,
                (op, i, a) -> rotary(op.rotary(), i, a.input(0), a.input(1), a.output(0), true));
        gatedUnits(backend);
    }

    private static void norms(CpuBackend backend) {
        backend.put(Norm.RmsNorm.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            return () -> CpuNative.rmsNorm(
                    a.input(0), a.input(1), a.output(0), a.output(1), x.rows(), x.width(), (float) op.epsilon());
        });
        backend.put(Norm.RmsNormGradInput.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long addend = op.addend() == Operand.PRESENT ? a.input(4) : 0;
            return () -> CpuNative.rmsNormGradInput(
                    a.input(0), a.input(1), a.input(2), a.input(3), addend, a.output(0), x.rows(), x.width());
        });
        backend.put(Norm.RmsNormGradParameters.class, (op, i, a) -> {
            Shape x = CpuBackend.shape(i, 0);
            long addend = op.addend() == Operand.PRESENT ? a.input(3) : 0;
            return () -> CpuNative.rmsNormGradParameters(
                    a.input(0), a.input(1), a.input(2), addend, a.output(0), x.rows(), x.width());
        });
    }

    private static Runnable rotary(Rotary op, Instruction i, long x, long positions, long y, boolean backwards) {
        Shape qkv = CpuBackend.shape(i, 0);
        double[] frequencies = op.frequencies();
        int rotated = op.heads().heads() + op.heads().groups();
        int width = op.heads().width();
        return () -> CpuNative.rotary(x, positions, frequencies, y, qkv.rows(), rotated, width, qkv.width(), backwards);
    }

    private static void gatedUnits(CpuBackend backend) {
        backend.put(Gated.class, (op, i, a) -> {
            Shape y = i.outputs().get(0).type().shape();
            return switch (op.function()) {
                case GELU_TANH -> () -> CpuNative.gatedGelu(a.input(0), a.output(0), y.rows(), y.width());
                case SILU -> () -> CpuNative.gatedSilu(a.input(0), a.output(0), y.rows(), y.width());
                case GELU, RELU -> throw new AssertionError(op);
            };
        });
        backend.put(Gated.GatedGrad.class, (op, i, a) -> {
            Shape dy = CpuBackend.shape(i, 1);
            long x = a.input(0);
            long dx = a.output(0);
            return switch (op.function()) {
                case GELU_TANH -> () -> CpuNative.gatedGeluGrad(x, a.input(1), dx, dy.rows(), dy.width());
                case SILU -> () -> CpuNative.gatedSiluGrad(x, a.input(1), dx, dy.rows(), dy.width());
                case GELU, RELU -> throw new AssertionError(op);
            };
        });
    }
}
