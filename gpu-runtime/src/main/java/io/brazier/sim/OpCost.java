package io.brazier.sim;

import io.brazier.program.Attention;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Transpose;
import io.brazier.program.Op;
import io.brazier.sim.Hardware.AttentionKernels;
import io.brazier.sim.Hardware.Products;
import io.brazier.sim.Hardware.Tile;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;

/**
 * Seconds of an instruction that computes: the longer of its arithmetic and its traffic with memory (the roofline), and the
 * launch of its kernel.
 */
public final class OpCost {
    private static final int MAX_SPLITS = 16;

    private final Hardware hardware;

    public OpCost(Hardware hardware) {
        this.hardware = hardware;
    }

    /** Seconds on an otherwise idle device; collectives are priced by {@link CollectiveCost}. */
    public double seconds(Instruction instruction) {
        Op op = instruction.op();
        if (op instanceof Collective) {
            throw new AssertionError(op.mnemonic() + " is no computation");
        }
        if (op.aliases().stream().anyMatch(a -> a.need() == Op.Alias.Need.REQUIRED) && instruction.flops() == 0) {
            return 0;
        }
        double arithmetic = arithmeticSeconds(instruction);
        double memory = instruction.bytes() / hardware.streamBytesPerSecond();
        return Math.max(arithmetic, memory) + hardware.kernelSeconds();
    }

    private double arithmeticSeconds(Instruction instruction) {
        Op op = instruction.op();
        TensorType x = instruction.inputs().get(0).type();
        if (op instanceof MatMul product) {
            Shape y = instruction.outputs().get(0).type().shape();
            long contracted = product.transpose() == Transpose.X
                    ? x.shape().rows()
                    : x.shape().width();
            return productSeconds(x.dtype(), y.rows(), y.width(), contracted);
        }
        if (op instanceof Attention attention) {
            return instruction.flops() / (hardware.peak(x.dtype()) * fraction(attention, x.shape()));
        }
        return instruction.flops() / hardware.vectorFlopsPerSecond();
    }

    private double fraction(Attention op, Shape x) {
        AttentionKernels kernels = hardware.attention();
        double numTokens = x.dim(1);
        double whole = op.mnemonic().endsWith("_grad") ? kernels.backwardFraction() : kernels.forwardFraction();
        return whole * numTokens / (numTokens + kernels.blockTokens());
    }

    /**
     * Seconds of [rows, contracted] by [contracted, columns]. Tiles fill the processors in waves, the last of which may be
     * mostly idle; a tile takes its padded multiplications, at the peak or at the rate at which the cache feeds it, and the
     * latency of its first load and of its store. Where tiles are few, the contracted dim is split and the parts are summed
     * through memory. A library picks the best of these kernels, so the shortest counts.
     */
    public double productSeconds(DType dtype, long rows, long columns, long contracted) {
        double best = Double.POSITIVE_INFINITY;
        for (Tile tile : hardware.products().tiles()) {
            for (int splits = 1; splits <= MAX_SPLITS && splits <= contracted; splits *= 2) {
                best = Math.min(best, tiledSeconds(dtype, rows, columns, contracted, tile, splits));
            }
        }
        return best;
    }

    private double tiledSeconds(DType dtype, long rows, long columns, long contracted, Tile tile, int splits) {
        Products products = hardware.products();
        long numTiles = ceil(rows, tile.rows()) * ceil(columns, tile.columns()) * splits;
        long atOnce = Math.max(1, hardware.numProcessors() / tile.processors());
        double area = (double) tile.rows() * tile.columns();
        double multiplications = area * ceil(contracted, splits);
        double share = (double) tile.processors() / hardware.numProcessors();
        double compute = 2 * multiplications / (hardware.peak(dtype) * products.peakFraction() * share);
        double operandBytes = (double) (tile.rows() + tile.columns()) * ceil(contracted, splits) * dtype.bytes();
        double feed = operandBytes / (products.operandBytesPerSecond() * share);
        // Tiles of a wave end together, so each gets its share of the bandwidth.
        double store = area * dtype.bytes() / (hardware.streamBytesPerSecond() * share);
        double tileSeconds =
                Math.max(compute, feed) + 2 * products.fillSeconds() + products.exposedStoreFraction() * store;
        double sums =
                splits == 1 ? 0 : 2.0 * splits * rows * columns * DType.F32.bytes() / hardware.streamBytesPerSecond();
        return ceil(numTiles, atOnce) * tileSeconds + sums;
    }

    private static long ceil(long x, long by) {
        return (x + by - 1) / by;
    }
}
