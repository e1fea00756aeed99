package io.brazier.sim;

import io.brazier.program.Attention;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix;
import io.brazier.program.Matrix.SumRows;
import io.brazier.program.Op;
import io.brazier.program.Ring;
import io.brazier.program.Rotary;
import io.brazier.program.Scaled.ScaledMatMul;
import io.brazier.sim.Hardware.AttentionKernels;
import io.brazier.sim.Hardware.Products;
import io.brazier.sim.Hardware.Tile;
import io.brazier.tensor.DType;
import io.brazier.tensor.Shape;
import io.brazier.tensor.TensorType;

/**
 * Seconds of an instruction that computes: the longer of its arithmetic and its traffic with memory (the roofline), and the
 * launch of its kernel. Products in eight bits are taken to be no faster than those in bf16.
 */
public final class OpCost {
    private static final int MAX_SPLITS = 16;

    /** A batch of [rows, contracted] by [contracted, columns], and the types of operands and result. */
    public record Product(DType operands, DType result, long batch, long rows, long columns, long contracted) {}

    private final Hardware hardware;
    private final double pace;

    /** @param numDevices that wait for each other, so that all go at the pace of the slowest */
    public OpCost(Hardware hardware, int numDevices) {
        this.hardware = hardware;
        this.pace = hardware.slowestRate(numDevices);
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

    /**
     * The least time that a device could take.
     *
     * @param arithmeticSeconds FLOPs at the peak of their kind
     * @param memorySeconds bytes at the memory's bandwidth
     */
    public record Bound(double arithmeticSeconds, double memorySeconds) {
        public double seconds() {
            return Math.max(arithmeticSeconds, memorySeconds);
        }
    }

    /** What no kernel for the instruction can beat, from the same counts as {@link #seconds(Instruction)}. */
    public Bound bound(Instruction instruction) {
        double peak = isProduct(instruction.op()) || attends(instruction.op())
                ? hardware.peak(instruction.inputs().get(0).type().dtype())
                : hardware.vectorFlopsPerSecond();
        return new Bound(instruction.flops() / peak, instruction.bytes() / hardware.memoryBytesPerSecond());
    }

    private static boolean isProduct(Op op) {
        return op instanceof Matrix && !(op instanceof SumRows) || op instanceof ScaledMatMul;
    }

    private static boolean attends(Op op) {
        boolean rotates = op instanceof Rotary || op instanceof Rotary.RotaryGrad;
        return (op instanceof Attention || op instanceof Ring) && !rotates;
    }

    /** Seconds to copy so many bytes. */
    double copySeconds(long bytes) {
        return 2 * bytes / hardware.streamBytesPerSecond() + hardware.kernelSeconds();
    }

    private double arithmeticSeconds(Instruction instruction) {
        Op op = instruction.op();
        TensorType x = instruction.inputs().get(0).type();
        if (isProduct(op)) {
            return seconds(product(instruction)) / pace;
        }
        if (attends(op)) {
            return instruction.flops() / (hardware.peak(x.dtype()) * fraction(op, x.shape()) * pace);
        }
        return instruction.flops() / hardware.vectorFlopsPerSecond();
    }

    private static Product product(Instruction instruction) {
        TensorType x = instruction.inputs().get(0).type();
        TensorType y = instruction.outputs().get(0).type();
        long batch = 1;
        long rows = y.shape().rows();
        if (instruction.op() instanceof BatchedMatMul) {
            batch = y.shape().dim(0);
            rows = y.shape().dim(1);
        }
        long columns = y.shape().width();
        // 2 rows columns contracted is what a product counts, whichever operand is transposed.
        long contracted = Math.round(instruction.flops() / (2.0 * batch * rows * columns));
        return new Product(x.dtype(), y.dtype(), batch, rows, columns, contracted);
    }

    private double fraction(Op op, Shape x) {
        AttentionKernels kernels = hardware.attention();
        double numTokens = x.dim(1);
        double whole = op.mnemonic().endsWith("_grad") ? kernels.backwardFraction() : kernels.forwardFraction();
        return whole * numTokens / (numTokens + kernels.rampTokens());
    }

    /**
     * Seconds of the arithmetic of a product. Tiles fill the processors in waves, the last of which may be mostly idle; a tile
     * takes its padded multiplications, at the peak or at the rate at which the cache feeds it, and the latency of its first load
     * and of its store. Where tiles are few, the contracted dim is split and the parts are summed through memory. A library picks
     * the best of these kernels, so the shortest counts.
     */
    public double seconds(Product product) {
        double best = Double.POSITIVE_INFINITY;
        for (Tile tile : hardware.products().tiles()) {
            for (int splits = 1; splits <= MAX_SPLITS && splits <= product.contracted(); splits *= 2) {
                best = Math.min(best, tiledSeconds(product, tile, splits));
            }
        }
        return best;
    }

    private double tiledSeconds(Product p, Tile tile, int splits) {
        Products products = hardware.products();
        long numTiles = p.batch() * ceil(p.rows(), tile.rows()) * ceil(p.columns(), tile.columns()) * splits;
        long atOnce = Math.max(1, hardware.numProcessors() / tile.processors());
        double area = (double) tile.rows() * tile.columns();
        double contracted = ceil(p.contracted(), splits);
        double share = (double) tile.processors() / hardware.numProcessors();
        double compute = 2 * area * contracted / (hardware.peak(p.operands()) * products.peakFraction() * share);
        double operandBytes = (double) (tile.rows() + tile.columns())
                * contracted
                * p.operands().bytes();
        double feed = operandBytes / (products.operandBytesPerSecond() * share);
        // Tiles of a wave end together, so each gets its share of the bandwidth.
        double store = area * p.result().bytes() / (hardware.streamBytesPerSecond() * share);
        double tileSeconds =
                Math.max(compute, feed) + 2 * products.fillSeconds() + products.exposedStoreFraction() * store;
        double parts = splits == 1 ? 0 : 2.0 * splits * p.batch() * p.rows() * p.columns() * DType.F32.bytes();
        return ceil(numTiles, atOnce) * tileSeconds + parts / hardware.streamBytesPerSecond();
    }

    private static long ceil(long x, long by) {
        return (x + by - 1) / by;
    }
}
