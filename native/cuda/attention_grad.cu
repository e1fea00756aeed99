// The gradient of attention.cu in bf16 on tensor cores (arXiv:2307.08691, alg. 2). With p = exp(scale q k^T - lse) recomputed and
// delta = rowsum(dO o):  dS = p (dO v^T - delta),  dq = scale dS k,  dk = scale dS^T q,  dv = p^T dO.
//
// Shapes as in attention.cu; query t sees the keys [0, seen(t)): none for t < firstQuery, else min(t + 1, keys) where causal,
// else `keys`. Two kernels run one behind the other, each sum in one thread's registers and in one order, without atomics:
//   attention_dq   a block of 4 warps has 64 M queries of one head and walks the keys; also writes delta [B, H, T] f32
//   attention_dkv  a block has 16 W M keys of one head of k and v and walks the queries of the H / G heads that read it, with
//                  scores transposed, so that p^T and dS^T are operands where they lie; S warps share the columns of dk and dv
//                  where the registers of one do not hold them
// Gradients are bf16, or f32 where `wide`; dq is added to what is there where `accumulate`; what no pair touches becomes 0.
//
// FLOPs: 14 K for each pair seen, where one kernel with atomic sums, and the op's count, take 10 K. Bytes: 2 (6 H + 6 G) K a
// token, as both kernels read q, k, v and dO, where the op counts 2 (4 H + 4 G) K; 16 H for lse and delta. Bound on an H100: tensor
// cores, of whose 989 TFLOP/s mma.sync reaches about 62 % (arXiv:2402.13499).
// Launch: (ceil(T / 64 M), H, B) blocks of 128 threads, 4 (64 M + 2 N) (width + 8) bytes of shared memory; then
// (ceil(T / 16 W M), G, B) blocks of 32 W S threads, 4 (16 W M + 2 N) (width + 8) + 16 N bytes.
#include "brazier.cuh"

struct Heads {
    int tokens, heads, groups, width;
    int64 queryStride, outStride, keyStride, gradientStride;
    int firstQuery, keys, causal;
    float scale;
    int wide;
};

__device__ __forceinline__ int seen(const Heads& p, int token) {
    return token < p.firstQuery ? 0 : p.causal ? min(token + 1, p.keys) : p.keys;
}

// Two neighbouring elements of a row of a gradient, from an even column on.
__device__ __forceinline__ void store_gradient(
    const Heads& p, void* gradient, int64 row, int column, float x, float y, bool accumulate) {
    if (!p.wide) {
        store_pair(static_cast<bf16*>(gradient) + row, column, p.width, x, y);
        return;
    }
    float* to = static_cast<float*>(gradient) + row + column;
    to[0] = accumulate ? to[0] + x : x;
    if (column + 1 < p.width) {
        to[1] = accumulate ? to[1] + y : y;
    }
}

// The rows of a gradient that this lane holds two columns of in every eight.
template <int kColumns>
__device__ __forceinline__ void store_rows(const Heads& p, void* gradient, int64 row, int rows, int column,
    const float (&sums)[kColumns / 8][4], float factor, bool accumulate) {
#pragma unroll
    for (int half = 0; half < 2; half++) {
        int own = result_row(2 * half);
        if (own < rows) {
#pragma unroll
            for (int n = 0; n < kColumns / 8; n++) {
                int at = column + n * 8 + result_column(0);
                if (at < p.width) {
                    store_gradient(p, gradient, row + own * p.gradientStride, at, factor * sums[n][2 * half],
                        factor * sums[n][2 * half + 1], accumulate);
                }
            }
        }
    }
}

// The sum over a row of o dO, in each of the four lanes that share the row in products' results.
__device__ __forceinline__ float row_product(const bf16* o, const bf16* gradOut, int width, bool valid) {
    float sum = 0.0f;
#pragma unroll 4
    for (int column = lane() % 4; column < width; column += 4) {
        sum += valid ? to_float(o[column]) * to_float(gradOut[column]) : 0.0f;
    }
    sum += __shfl_xor_sync(kAllLanes, sum, 1);
    return sum + __shfl_xor_sync(kAllLanes, sum, 2);
}

template <int D, int M, int N>
__device__ __forceinline__ void query_gradient(const bf16* q, const bf16* k, const bf16* v, const bf16* o, const float* lse,
    const bf16* gradOut, void* dq, float* delta, bool accumulate, const Heads& p) {
    constexpr int kRows = 64 * M, kThreads = 128, kStage = N * kTileStride<D>;
    DYNAMIC_SHARED(bf16, queryTile);
    bf16* gradTile = queryTile + kRows * kTileStride<D>;
    bf16* keyTiles = gradTile + kRows * kTileStride<D>;
    bf16* valueTiles = keyTiles + 2 * kStage;
    int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;  // the longest rows first
    int keys = seen(p, min(first + kRows, p.tokens) - 1);
    int64 token = static_cast<int64>(sample) * p.tokens + first;
    int64 outAt = token * p.outStride + head * p.width;
    int64 keyAt = static_cast<int64>(sample) * p.tokens * p.keyStride + head / (p.heads / p.groups) * p.width;
    int64 statAt = (static_cast<int64>(sample) * p.heads + head) * p.tokens + first;
    load_tile<D, kRows, kThreads>(
        queryTile, q + token * p.queryStride + head * p.width, p.queryStride, p.tokens - first, p.width);
    load_tile<D, kRows, kThreads>(gradTile, gradOut + outAt, p.outStride, p.tokens - first, p.width);
    auto load = [&](int from) {
        int stage = from / N % 2 * kStage;
        load_tile<D, N, kThreads>(keyTiles + stage, k + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        load_tile<D, N, kThreads>(valueTiles + stage, v + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        cp_async_commit();
    };
    load(0);

    // What the first and the last query of this warp see.
    int row = warp() * 16 * M, fewest = seen(p, first + row);
    int most = first + row < p.tokens ? seen(p, min(first + row + 16 * M, p.tokens) - 1) : 0;
    float sums[M][D / 8][4] = {}, logSum[M][2], own[M][2];
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            int at = row + 16 * m + result_row(2 * half);
            bool valid = first + at < p.tokens;
            own[m][half] = row_product(o + outAt + at * p.outStride, gradOut + outAt + at * p.outStride, p.width, valid);
            logSum[m][half] = valid ? lse[statAt + at] * kLog2e : 0.0f;
            if (valid && lane() % 4 == 0) {
                delta[statAt + at] = own[m][half];
            }
        }
    }
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
        float s[M][N / 8][4] = {}, ds[M][N / 8][4] = {};
        multiply_transposed<D, M, N>(s, queryTile, row, keyTile);
        multiply_transposed<D, M, N>(ds, gradTile, row, valueTile);
        if (from + N > fewest) {
            each_score<M, N>([&](int m, int n, int e) {
                bool kept = from + n * 8 + result_column(e) < min(keys, seen(p, first + row + 16 * m + result_row(e)));
                s[m][n][e] = kept ? s[m][n][e] : -infinity();
            });
        }
        each_score<M, N>([&](int m, int n, int e) {
            float weight = fast_exp2(fmaf(s[m][n][e], p.scale * kLog2e, -logSum[m][e / 2]));
            ds[m][n][e] = weight * (ds[m][n][e] - own[m][e / 2]);
        });
        multiply_results<D, M, N, D>(sums, ds, keyTile, 0);
    }
    cp_async_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) {
        int64 at = (token + row + 16 * m) * p.gradientStride + head * p.width;
        store_rows<D>(p, dq, at, p.tokens - first - row - 16 * m, 0, sums[m], p.scale, accumulate);
    }
}

template <int D, int W, int M, int N, int S>
__device__ __forceinline__ void key_gradients(const bf16* q, const bf16* k, const bf16* v, const float* lse,
    const bf16* gradOut, const float* delta, void* dk, void* dv, const Heads& p) {
    constexpr int kRows = 16 * W * M, kThreads = 32 * W * S, kStage = N * kTileStride<D>, kColumns = D / S;
    DYNAMIC_SHARED(bf16, keyTile);
    bf16* valueTile = keyTile + kRows * kTileStride<D>;
    bf16* queryTiles = valueTile + kRows * kTileStride<D>;
    bf16* gradTiles = queryTiles + 2 * kStage;
    float* logSums = reinterpret_cast<float*>(gradTiles + 2 * kStage);
    float* deltas = logSums + 2 * N;
    int group = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(blockIdx.x) * kRows;
    int64 token = static_cast<int64>(sample) * p.tokens;
    int64 keyAt = (token + first) * p.keyStride + group * p.width;
    load_tile<D, kRows, kThreads>(keyTile, k + keyAt, p.keyStride, p.keys - first, p.width);
    load_tile<D, kRows, kThreads>(valueTile, v + keyAt, p.keyStride, p.keys - first, p.width);

    // Tiles of queries that see any of these keys, of one head behind the other.
    int share = p.heads / p.groups, begin = (p.causal ? max(first, p.firstQuery) : p.firstQuery) / N * N;
    int tiles = first < p.keys ? share * ((p.tokens - begin + N - 1) / N) : 0;
    auto following = [&](int from) { return from + N < p.tokens ? from + N : begin; };
    int head = group * share;
    auto load = [&](int from, int stage) {
        int64 at = token + from;
        load_tile<D, N, kThreads>(queryTiles + stage * kStage, q + at * p.queryStride + head * p.width, p.queryStride,
            p.tokens - from, p.width);
        load_tile<D, N, kThreads>(
            gradTiles + stage * kStage, gradOut + at * p.outStride + head * p.width, p.outStride, p.tokens - from, p.width);
        cp_async_commit();
        int x = static_cast<int>(threadIdx.x);
        if (x < N) {
            int64 statAt = (static_cast<int64>(sample) * p.heads + head) * p.tokens + from + x;
            logSums[stage * N + x] = from + x < p.tokens ? lse[statAt] * kLog2e : 0.0f;
            deltas[stage * N + x] = from + x < p.tokens ? delta[statAt] : 0.0f;
        }
        head += from + N < p.tokens ? 0 : 1;
    };
    if (tiles > 0) {
        load(begin, 0);
    } else {
        cp_async_commit();
    }
    int row = warp() % W * 16 * M, column = warp() / W * kColumns;
    float sumsK[M][kColumns / 8][4] = {}, sumsV[M][kColumns / 8][4] = {};
    for (int tile = 0, from = begin; tile < tiles; tile++, from = following(from)) {
        int stage = tile % 2;
        cp_async_wait<0>();
        __syncthreads();
        if (tile + 1 < tiles) {
            load(following(from), 1 - stage);
        }
        if (seen(p, min(from + N, p.tokens) - 1) <= first + row) {
            continue;
        }
        const bf16 *queryTile = queryTiles + stage * kStage, *gradTile = gradTiles + stage * kStage;
        float s[M][N / 8][4] = {}, ds[M][N / 8][4] = {};
        multiply_transposed<D, M, N>(s, keyTile, row, queryTile);
        multiply_transposed<D, M, N>(ds, valueTile, row, gradTile);
        if (first + row + 16 * M > seen(p, from)) {
            each_score<M, N>([&](int m, int n, int e) {
                bool kept = first + row + 16 * m + result_row(e) < seen(p, from + n * 8 + result_column(e));
                s[m][n][e] = kept ? s[m][n][e] : -infinity();
            });
        }
        each_score<M, N>([&](int m, int n, int e) {
            int query = stage * N + n * 8 + result_column(e);
            s[m][n][e] = fast_exp2(fmaf(s[m][n][e], p.scale * kLog2e, -logSums[query]));
            ds[m][n][e] = s[m][n][e] * (ds[m][n][e] - deltas[query]);
        });
        multiply_results<D, M, N, kColumns>(sumsV, s, gradTile, column);
        multiply_results<D, M, N, kColumns>(sumsK, ds, queryTile, column);
    }
    cp_async_wait<0>();
#pragma unroll
    for (int m = 0; m < M; m++) {
        int64 at = (token + first + row + 16 * m) * p.gradientStride + group * p.width;
        int rows = p.tokens - first - row - 16 * m;
        store_rows<kColumns>(p, dk, at, rows, column, sumsK[m], p.scale, false);
        store_rows<kColumns>(p, dv, at, rows, column, sumsV[m], 1.0f, false);
    }
}

#define PROBLEM                                                                                                           \
    int tokens, int heads, int groups, int width, int64 queryStride, int64 outStride, int64 keyStride,                   \
        int64 gradientStride, int firstQuery, int keys, int causal, float scale, int wide
#define HEADS                                                                                                             \
    {                                                                                                                     \
        tokens, heads, groups, width, queryStride, outStride, keyStride, gradientStride, firstQuery, keys, causal,       \
            scale, wide                                                                                                   \
    }
#define QUERY_GRADIENT(D, M, N)                                                                                           \
    extern "C" __global__ void __launch_bounds__(128, 2) attention_dq_##D##_bf16(const bf16* q, const bf16* k,              \
        const bf16* v, const bf16* o, const float* lse, const bf16* gradOut, void* dq, float* delta, PROBLEM, int accumulate) { \
        query_gradient<D, M, N>(q, k, v, o, lse, gradOut, dq, delta, accumulate, HEADS);                                  \
    }
#define KEY_GRADIENTS(D, W, M, N, S)                                                                                      \
    extern "C" __global__ void __launch_bounds__(32 * W * S, 8 / W / S) attention_dkv_##D##_bf16(const bf16* q, const bf16* k,      \
        const bf16* v, const float* lse, const bf16* gradOut, const float* delta, void* dk, void* dv, PROBLEM) {         \
        key_gradients<D, W, M, N, S>(q, k, v, lse, gradOut, delta, dk, dv, HEADS);                                        \
    }

QUERY_GRADIENT(32, 2, 64)
QUERY_GRADIENT(64, 2, 32)
QUERY_GRADIENT(128, 1, 64)
QUERY_GRADIENT(256, 1, 32)
KEY_GRADIENTS(32, 4, 2, 32, 1)
KEY_GRADIENTS(64, 4, 2, 32, 1)
KEY_GRADIENTS(128, 8, 1, 32, 1)
KEY_GRADIENTS(256, 4, 1, 32, 2)
