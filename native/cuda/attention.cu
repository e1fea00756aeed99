// Attention in bf16 on tensor cores (arXiv:2307.08691, alg. 1): o = softmax(scale q k^T) v, and lse, the logarithm of each
// row's sum of exponentials. No score leaves the registers.
//
// q [B, T, H, K] and o lie in rows of any stride, k and v [B, keys, G, K] too; H / G heads read one head of k and v. Query t sees
// the keys [0, seen(t)): none for t < firstQuery, else min(starts[b] + t + 1, keys) where causal, else `keys`. With `merge`, o and
// lse hold the result over other keys and take these in: lse' = log(exp(lse) + exp(found)), o' = o exp(lse - lse') + found o
// exp(found - lse').
//
// A block of 4 warps works on 64 M queries of one head, each warp on M fragments of 16; tiles of N keys come by cp.async into one
// of two stages while the tile before is worked on. Probabilities go from the result registers of q k^T straight into operands of
// p v. Tiles past the diagonal are skipped, by each warp for itself. Sums are f32. Any K up to 256 is padded with zeros to a
// compiled width.
//
// FLOPs: 4 K for each pair seen. Bytes: 2 (2 H + 2 G) K a token from and to DRAM (keys are read again through L2), 4 H for lse.
// Bound on an H100: tensor cores, of whose 989 TFLOP/s mma.sync reaches about 62 % (arXiv:2402.13499).
// Launch: (ceil(T / 64 M), H, B) blocks of 128 threads, 2 (64 M + 4 N) (width + 8) bytes of shared memory.
#include "brazier.cuh"

struct Heads {
    int tokens, heads, groups, width;
    int64 queryStride, outStride, keyStride, keyHead, keySample;
    int firstQuery, keys, causal, merge;
    float scale;
};

__device__ __forceinline__ int seen(const Heads& p, int start, int token) {
    int keys = p.causal ? min(start + token + 1, p.keys) : p.keys;
    return token < p.firstQuery ? 0 : keys;
}

// Turns scores into exp(scale (score - top)) with the tops so far, which grow; rescales what was summed under the old ones.
template <int M, int N, int D>
__device__ __forceinline__ void online_softmax(
    float (&s)[M][N / 8][4], float (&top)[M][2], float (&sum)[M][2], float (&out)[M][D / 8][4], float factor) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float highest = top[m][half];
#pragma unroll
            for (int n = 0; n < N / 8; n++) {
                highest = fmaxf(highest, fmaxf(s[m][n][2 * half], s[m][n][2 * half + 1]));
            }
            highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 1));
            highest = fmaxf(highest, __shfl_xor_sync(kAllLanes, highest, 2));
            float base = highest == -infinity() ? 0.0f : highest * factor;
            float shrink = fast_exp2(top[m][half] * factor - base);
            float added = 0.0f;
#pragma unroll
            for (int n = 0; n < N / 8; n++) {
#pragma unroll
                for (int c = 2 * half; c < 2 * half + 2; c++) {
                    s[m][n][c] = fast_exp2(fmaf(s[m][n][c], factor, -base));
                    added += s[m][n][c];
                }
            }
            top[m][half] = highest;
            sum[m][half] = sum[m][half] * shrink + added;
#pragma unroll
            for (int n = 0; n < D / 8; n++) {
                out[m][n][2 * half] *= shrink;
                out[m][n][2 * half + 1] *= shrink;
            }
        }
    }
}

// Writes one row of results, of which this lane holds two columns in every eight, or merges it into what is there.
template <int D>
__device__ __forceinline__ void finish(
    const Heads& p, const float (&out)[D / 8][4], int half, float top, float sum, bool valid, bf16* o, float* lse) {
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    sum += __shfl_xor_sync(kAllLanes, sum, 2);
    bool first = valid && lse != nullptr && lane() % 4 == 0;
    float old = __shfl_sync(kAllLanes, p.merge && first ? *lse : 0.0f, lane() / 4 * 4);
    if (!valid) {
        return;
    }
    float total = top * p.scale + logf(sum), kept = 0.0f, taken = 1.0f / sum;
    if (p.merge) {
        float found = total;
        total = fmaxf(old, found) + log1pf(expf(-fabsf(old - found)));
        kept = expf(old - total);
        taken *= expf(found - total);
    }
    if (first) {
        *lse = total;
    }
#pragma unroll
    for (int n = 0; n < D / 8; n++) {
        int column = n * 8 + result_column(0);
        if (column < p.width) {
            float x = taken * out[n][2 * half], y = taken * out[n][2 * half + 1];
            if (p.merge) {
                x = fmaf(kept, to_float(o[column]), x);
                y = column + 1 < p.width ? fmaf(kept, to_float(o[column + 1]), y) : y;
            }
            store_pair(o, column, p.width, x, y);
        }
    }
}

template <int D, int M, int N>
__device__ __forceinline__ void attend(
    const bf16* q, const bf16* k, const bf16* v, const int* starts, bf16* o, float* lse, const Heads& p) {
    constexpr int kRows = 64 * M, kThreads = 128, kStage = N * kTileStride<D>;
    DYNAMIC_SHARED(bf16, queryTile);
    bf16* keyTiles = queryTile + kRows * kTileStride<D>;
    bf16* valueTiles = keyTiles + 2 * kStage;
    int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;  // the longest rows first
    int start = starts == nullptr ? 0 : starts[sample];
    int keys = seen(p, start, min(first + kRows, p.tokens) - 1);
    if (keys <= 0) {
        return;
    }
    int64 token = static_cast<int64>(sample) * p.tokens + first;
    int64 keyAt = sample * p.keySample + head / (p.heads / p.groups) * p.keyHead;
    load_tile<D, kRows, kThreads>(
        queryTile, q + token * p.queryStride + head * p.width, p.queryStride, p.tokens - first, p.width);

    // What the first and the last query of this warp see.
    int row = warp() * 16 * M, fewest = seen(p, start, first + row);
    int most = first + row < p.tokens ? seen(p, start, min(first + row + 16 * M, p.tokens) - 1) : 0;
    float out[M][D / 8][4] = {}, top[M][2], sum[M][2] = {};
    for (int m = 0; m < M; m++) {
        top[m][0] = top[m][1] = -infinity();
    }
    auto load = [&](int from) {
        int stage = from / N % 2 * kStage;
        load_tile<D, N, kThreads>(keyTiles + stage, k + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        load_tile<D, N, kThreads>(valueTiles + stage, v + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        cp_async_commit();
    };
    load(0);
    for (int from = 0; from < keys; from += N) {
        cp_async_wait<0>();
        __syncthreads();
        if (from + N < keys) {
            load(from + N);
        }
        if (from >= most) {
            continue;
        }
        const bf16 *keyTile = keyTiles + from / N % 2 * kStage, *valueTile = valueTiles + from / N % 2 * kStage;
        float s[M][N / 8][4] = {};
        multiply_transposed<D, M, N>(s, queryTile, row, keyTile);
        if (from + N > fewest) {
            each_score<M, N>([&](int m, int n, int e) {
                int visible = min(keys, seen(p, start, first + row + 16 * m + result_row(e)));
                s[m][n][e] = from + n * 8 + result_column(e) < visible ? s[m][n][e] : -infinity();
            });
        }
        online_softmax<M, N, D>(s, top, sum, out, p.scale * kLog2e);
        multiply_results<D, M, N, D>(out, s, valueTile, 0);
    }
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int own = row + 16 * m + result_row(2 * half), t = first + own;
            finish<D>(p, out[m], half, top[m][half], sum[m][half], t < p.tokens && t >= p.firstQuery,
                o + (token + own) * p.outStride + head * p.width,
                lse == nullptr ? nullptr : lse + (static_cast<int64>(sample) * p.heads + head) * p.tokens + t);
        }
    }
}

#define ATTENTION(D, M, N)                                                                                                \
    extern "C" __global__ void __launch_bounds__(128, 2) attention_##D##_bf16(const bf16* q, const bf16* k, const bf16* v,  \
        const int* starts, bf16* o, float* lse, int tokens, int heads, int groups, int width, int64 queryStride,         \
        int64 outStride, int64 keyStride, int64 keyHead, int64 keySample, int firstQuery, int keys, int causal,          \
        int merge, float scale) {                                                                                         \
        attend<D, M, N>(q, k, v, starts, o, lse,                                                                          \
            {tokens, heads, groups, width, queryStride, outStride, keyStride, keyHead, keySample, firstQuery, keys,      \
                causal, merge, scale});                                                                                   \
    }

ATTENTION(32, 2, 64)
ATTENTION(64, 2, 64)
ATTENTION(128, 2, 32)
ATTENTION(256, 1, 64)
