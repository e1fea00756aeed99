package io.brazier.cpu;

import io.brazier.host.NativeLibrary;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * The kernels of the CPU back end, one static method each.
 *
 * <p>Operands are addresses of row-major f32 arrays unless stated; 0 is an absent operand where the text allows one.
 * Nothing checks sizes: the caller's plan does. A required operand at address 0 throws
 * {@link IllegalArgumentException} naming the method. Outputs do not overlap inputs unless the text says that they may.
 *
 * <p>Work is split over the calling thread's team (see {@link #setNumThreads}). Sums are taken over fixed chunks, so a
 * result never depends on timing; nor on the number of threads, except in {@link #matmulRun}.
 */
public final class CpuNative {

    /** No activation after {@link #matmulCreate}'s product. */
    public static final int ACTIVATION_NONE = 0;

    /** GELU by tanh after {@link #matmulCreate}'s product. */
    public static final int ACTIVATION_GELU = 1;

    static {
        NativeLibrary.require();
    }

    private CpuNative() {}

    // ---- memory, threads, facts of the machine

    /**
     * Maps fresh zeroed memory, aligned to 2 MiB and on huge pages where the kernel grants them.
     *
     * @throws OutOfMemoryError naming the bytes asked for and the bytes available
     */
    public static native long allocate(long bytes);

    /** Unmaps what {@link #allocate} returned for the same number of bytes. */
    public static native void free(long address, long bytes);

    /** A view in native byte order of memory that must outlive it. */
    public static ByteBuffer wrap(long address, int bytes) {
        return wrapNative(address, bytes).order(ByteOrder.nativeOrder());
    }

    private static native ByteBuffer wrapNative(long address, int bytes);

    /** {@code dst[i] = value}. */
    public static native void fill(long dst, long count, float value);

    /** Copies bytes between regions that do not overlap. */
    public static native void copy(long dst, long src, long bytes);

    /** {@code dst[j][i] = src[i][j]} for blocks of bytes, i below a and j below b. */
    public static native void transposeBlocks(long src, long dst, long a, long b, long bytes);

    /** Sets the calling thread's team for all kernels that it calls from now on. */
    public static native void setNumThreads(int numThreads);

    /** The instruction set of the kernels in use: {@code portable}, {@code avx2} or {@code avx512}. */
    public static native String isa();

    /** The fp32 fused-multiply-add roof of the calling thread alone in FLOP/s: the best moment of about the given time. */
    public static native double measureFmaFlops(double seconds);

    // ---- matmul

    /**
     * Prepares {@code y[M,N] = act(op(x)[M,K] op(w)[K,N] + bias[N] + addend[M,N])} for the calling thread's team.
     *
     * @param transposeX x is stored [K,M] instead of [M,K]
     * @param transposeW w is stored [N,K] instead of [K,N]
     * @param activation {@link #ACTIVATION_NONE} or {@link #ACTIVATION_GELU}
     * @return a handle that {@link #matmulDestroy} releases; runs of one handle may not overlap in time unless each
     *     has its own scratch
     * @throws IllegalStateException when only a slow reference implementation is on offer
     */
    public static native long matmulCreate(
            long m,
            long n,
            long k,
            boolean transposeX,
            boolean transposeW,
            boolean bias,
            boolean addend,
            int activation);

    /** Bytes of scratch that each run needs; 0 for none. */
    public static native long matmulScratchBytes(long handle);

    /** The kernel that was chosen, such as {@code brg_matmul:avx512_core} (oneDNN) or {@code packed:avx512} (ours). */
    public static native String matmulImplementation(long handle);

    /**
     * Runs the product. {@code addend} may be {@code y} itself (accumulation); {@code y} overlaps neither x nor w.
     * {@code scratch} is 64-byte aligned.
     */
    public static native void matmulRun(long handle, long x, long w, long bias, long addend, long y, long scratch);

    /** Releases a handle; it must not be in use. */
    public static native void matmulDestroy(long handle);

    // ---- activations and elementwise

    /** {@code y = gelu(x) = x/2 (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))}; y may be x. */
    public static native void gelu(long x, long y, long count);

    /** {@code dx = dy gelu'(x)}; dx may be dy. */
    public static native void geluGrad(long x, long dy, long dx, long count);

    /** {@code y = x Phi(x)}, the exact GELU; y may be x. */
    public static native void erfGelu(long x, long y, long count);

    /** {@code dx = dy erfGelu'(x)}; dx may be dy. */
    public static native void erfGeluGrad(long x, long dy, long dx, long count);

    /** {@code y = max(x, 0)}; y may be x. */
    public static native void relu(long x, long y, long count);

    /** {@code dx = dy} where x is positive, else 0; dx may be dy. */
    public static native void reluGrad(long x, long dy, long dx, long count);

    /** {@code y = x / (1 + e^-x)}; y may be x. */
    public static native void silu(long x, long y, long count);

    /** {@code dx = dy silu'(x)}; dx may be dy. */
    public static native void siluGrad(long x, long dy, long dx, long count);

    /** {@code y = gelu(gate) up}, gate and up [width] side by side in each row of x [rows, 2 width]. */
    public static native void gatedGelu(long x, long y, long rows, long width);

    /** {@code dgate = dy up gelu'(gate), dup = dy gelu(gate)}, side by side in dx [rows, 2 width], which may be x. */
    public static native void gatedGeluGrad(long x, long dy, long dx, long rows, long width);

    /** {@code y = silu(gate) up}, gate and up [width] side by side in each row of x [rows, 2 width]. */
    public static native void gatedSilu(long x, long y, long rows, long width);

    /** {@code dgate = dy up silu'(gate), dup = dy silu(gate)}, side by side in dx [rows, 2 width], which may be x. */
    public static native void gatedSiluGrad(long x, long dy, long dx, long rows, long width);

    /** {@code y = a + b}; y may be a or b. */
    public static native void add(long a, long b, long y, long count);

    /** {@code dst += src}. */
    public static native void addInto(long dst, long src, long count);

    /** {@code y = factor x}; y may be x. */
    public static native void scale(long x, long y, long count, float factor);

    /** {@code y[width] = addend[width] + sum over rows of x[rows, width]}; addend may be 0 or y. */
    public static native void sumRows(long x, long addend, long y, long rows, long width);

    /**
     * {@code y = x keep / (1 - rate)} where keep is drawn by Philox4x32-10 keyed by the seed, from the counter (step,
     * stream, global element index); the same call on dy is the backward. y may be x.
     *
     * @param rng i64[3] {seed, step, firstRow}: element i has the global index (firstRow + rowOffset) * rowWidth + i
     */
    public static native void dropout(
            long x, long y, long count, float rate, long rng, long rowOffset, long streamId, long rowWidth);

    /** {@code y[r][i] = x[r][i] + bias[i] (+ addend[r][i])}; y may be x or addend. */
    public static native void addBias(long x, long bias, long addend, long y, long rows, long width);

    /** True when no element is infinite or NaN. */
    public static native boolean allFinite(long x, long count);

    // ---- layer norm

    /** {@code y = (x - mean) rstd gamma + beta} over rows x [rows, width]; keeps mean and rstd [rows]. */
    public static native void layerNorm(
            long x, long gamma, long beta, long y, long mean, long rstd, long rows, long width, float eps);

    /** dx [rows, width] of {@link #layerNorm}, plus addend [rows, width] where not 0; dx may be dy or addend. */
    public static native void layerNormGradInput(
            long x, long dy, long gamma, long mean, long rstd, long addend, long dx, long rows, long width);

    /** dgamma and dbeta [width] of {@link #layerNorm}, each plus its addend where not 0; an addend may be its output. */
    public static native void layerNormGradParameters(
            long x,
            long dy,
            long mean,
            long rstd,
            long addendGamma,
            long addendBeta,
            long dgamma,
            long dbeta,
            long rows,
            long width);

    /** {@code y = x rstd gamma} over rows x [rows, width], {@code rstd = 1/sqrt(mean(x^2) + eps)}; keeps rstd [rows]. */
    public static native void rmsNorm(long x, long gamma, long y, long rstd, long rows, long width, float eps);

    /** dx [rows, width] of {@link #rmsNorm}, plus addend [rows, width] where not 0; dx may be dy or addend. */
    public static native void rmsNormGradInput(
            long x, long dy, long gamma, long rstd, long addend, long dx, long rows, long width);

    /** dgamma [width] of {@link #rmsNorm}, plus its addend where not 0, which may be dgamma. */
    public static native void rmsNormGradParameters(
            long x, long dy, long rstd, long addend, long dgamma, long rows, long width);

    // ---- attention

    /** Bytes of scratch of {@link #attention} for teams up to {@code maxThreads}. */
    public static native long attentionScratchBytes(int b, int t, int h, int hkv, int k, int maxThreads);

    /**
     * Causal attention {@code o = softmax(scale q k^T + mask) v} per head.
     *
     * @param qkv [B, T, (H + 2 Hkv) K]: query heads, key heads, value heads; each key head serves H / Hkv query heads
     * @param o [B, T, H K]
     * @param lse [B, H, T], the log of each row's softmax denominator, which backward reads
     */
    public static native void attention(
            long qkv, long o, long lse, long scratch, int b, int t, int h, int hkv, int k, float scale);

    /** Bytes of scratch of {@link #attentionGrad} for teams up to {@code maxThreads}. */
    public static native long attentionGradScratchBytes(int b, int t, int h, int hkv, int k, int maxThreads);

    /** The gradient dqkv of {@link #attention}, all of it overwritten, from qkv, o, lse and the gradient dO of o. */
    public static native void attentionGrad(
            long qkv,
            long o,
            long lse,
            long gradO,
            long dqkv,
            long scratch,
            int b,
            int t,
            int h,
            int hkv,
            int k,
            float scale);

    /**
     * Rotates the first heads of each row of x [rows, rowWidth] by the row's position, element i of a head with element i +
     * width / 2 by {@code position frequencies[i]} radians, and copies the rest of the row. y may be x.
     *
     * @param positions i32 [rows]
     * @param frequencies of the width / 2 pairs of a head, in radians per position
     * @param backwards rotates by the negative angles
     */
    public static native void rotary(
            long x,
            long positions,
            double[] frequencies,
            long y,
            long rows,
            long heads,
            long width,
            long rowWidth,
            boolean backwards);

    /**
     * Attention of T new tokens per row over that row's cache: stores the new keys and values at positions
     * {@code starts[row] ..} and lets token t see positions {@code 0 .. starts[row] + t}.
     *
     * @param cacheK [B, Hkv, maxT, K], and cacheV alike
     * @param starts i32 [B]; the caller guarantees starts[row] + T <= maxT
     */
    public static native void cachedAttention(
            long qkv,
            long cacheK,
            long cacheV,
            long starts,
            long o,
            int b,
            int t,
            int h,
            int hkv,
            int k,
            int maxT,
            float scale);

    // ---- loss and embedding

    /**
     * {@code loss[1] (+)= scale * sum over rows of (lse - logit[target])}, and lse [rows] for the gradient.
     *
     * @param targets i32 [rows]; a negative target is ignored
     */
    public static native void crossEntropy(
            long logits, long targets, long lse, long loss, long rows, long v, float scale, boolean accumulate);

    /**
     * {@code dlogits = (exp(logits - lse) - onehot(target)) scale dloss[0]}, 0 in ignored rows; may be logits, which are those of
     * the ids from firstId on.
     */
    public static native void crossEntropyGrad(
            long logits,
            long lse,
            long targets,
            long dloss,
            long dlogits,
            long rows,
            long v,
            long firstId,
            float scale);

    /** {@code out[rows] = log sum exp} of each row of logits [rows, v]. */
    public static native void rowLogSumExp(long logits, long out, long rows, long v);

    /**
     * {@link #crossEntropy} over the rows whose target lies among the ids {@code firstId .. firstId + v - 1} of the logits; lse
     * [rows] is that of all shards.
     *
     * @param statistics [shards, rows], {@link #rowLogSumExp} of each shard
     */
    public static native void shardedCrossEntropy(
            long logits,
            long statistics,
            long targets,
            long lse,
            long loss,
            long rows,
            long v,
            long shards,
            long firstId,
            float scale);

    /** {@code out[rows] = logit[target] - lse} where the target lies among the logits' ids, else 0; see the above. */
    public static native void shardedTokenLogLikelihood(
            long logits, long statistics, long targets, long out, long rows, long v, long shards, long firstId);

    /** {@code out[rows] = logit[target] - lse}, 0 where the target is negative. */
    public static native void tokenLogLikelihood(long logits, long targets, long out, long rows, long v);

    /**
     * {@code y[row] = table[tokens[row] - firstId] + addend[row]} with tokens i32 [rows] and table [vocabulary, width]; zeros
     * stand for ids that the table lacks. addend is 0 or [rows, width], may be y.
     */
    public static native void embedding(
            long tokens, long table, long addend, long y, long rows, long width, long vocabulary, long firstId);

    /** {@code dtable[token - firstId] (+)= sum of dy over the rows that hold the token}, in the order of rows. */
    public static native void embeddingGrad(
            long tokens,
            long dy,
            long dtable,
            long rows,
            long width,
            long vocabulary,
            long firstId,
            boolean accumulate);

    // ---- mixtures of experts: rows of tokens, width numbers each, k choices each

    /** {@code y = exp(x) / sum(exp(x))} by row; y may be x. */
    public static native void softmax(long x, long y, long rows, long width);

    /** {@code dx = y (dy - sum(y dy))} with y = softmax(x); dx may be dy. */
    public static native void softmaxGrad(long x, long dy, long dx, long rows, long width);

    /** The k largest of each row of p, ties to the lower index: gates [rows, k], experts i32 [rows, k]. */
    public static native void topK(long p, long gates, long experts, long rows, long width, int k, boolean renormalise);

    /** Gradient of {@link #topK}: dp [rows, width]. */
    public static native void topKGrad(
            long p, long experts, long dgates, long dp, long rows, long width, int k, boolean renormalise);

    /** Slots i32 [rows, k] for experts i32 [rows, k], counts [numExperts], dropped [1]. */
    public static native void assignSlots(
            long experts, long slots, long counts, long dropped, long rows, int k, int numExperts, long capacity);

    /** {@code loss[1] = scale sum(p counts)}, p [rows, width] and counts [width]. */
    public static native void loadBalance(long p, long counts, long loss, long rows, long width, float scale);

    /** {@code dp = scale dloss[0] counts} in each row. */
    public static native void loadBalanceGrad(long counts, long dloss, long dp, long rows, long width, float scale);

    /** Rows times gates (0: no gates) to their slots, zeros to the others. scratch holds i32 [numSlots]. */
    public static native void dispatchTokens(
            long x, long slots, long gates, long buffer, long scratch, long rows, int k, long numSlots, long width);

    /** {@code y[row] = sum of gates buffer[slot]} over its choices with a slot; gates 0: none. */
    public static native void combineTokens(long buffer, long slots, long gates, long y, long rows, int k, long width);

    /** {@code dots[row, j] = x[row] . buffer[slot]}, 0 without a slot. */
    public static native void gatesGrad(long x, long buffer, long slots, long dots, long rows, int k, long width);

    // ---- optimizer

    /** {@code out f64[1] (+)= share * sum of squares}, summed in double. */
    public static native void squaredSum(long x, long count, double share, long out, boolean accumulate);

    /**
     * One AdamW step in place with decoupled decay, in PyTorch's order of operations:
     * {@code p -= lr decay p;  m = beta1 m + (1-beta1) g;  v = beta2 v + (1-beta2) g^2;
     * p -= lr mhat / (sqrt(vhat) + eps)} with {@code g = gradScale grad}.
     *
     * @param scalars f32[7] {lr, beta1, beta2, eps, gradScale, 1/(1-beta1^t), 1/(1-beta2^t)}
     */
    public static native void adamw(long param, long grad, long m, long v, long count, long scalars, float weightDecay);
}
