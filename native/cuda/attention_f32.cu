// Attention and its gradient in exact f32, without tensor cores: formulas, shapes and masks as in attention.cu, attention_grad.cu.
//
// A block of 16 x 16 threads works on tiles of 16 R rows by 16 R columns of scores; a thread holds R x R scores and R rows of
// D / 16 columns of each sum. Rows of probabilities pass through shared memory within one warp. Sums run in one order, no atomics.
// Any K up to 256 is padded with zeros to a compiled width D.
//
// FLOPs: 4 K forward and 14 K backward for each pair seen. Bytes: 4 (2 H + 2 G) K a token forward, 4 (6 H + 6 G) K backward. Bound
// on an H100: FMA units, 67 TFLOP/s. Launch: 256 threads, (ceil(T / 16 R), H, B) blocks, for dkv G in place of H; shared memory
// of 3 tiles (forward) or 4 (backward) of 16 R (D + 4) floats, and 16 R (16 R + 4) floats of probabilities.
#include "brazier.cuh"

struct Heads {
    int tokens, heads, groups, width;
    int64 queryStride, outStride, keyStride, keyHead, keySample, gradientStride;
    int firstQuery, keys, causal;
    float scale;
};

// Keys that a query sees, the first ones; start is the number of tokens before this call's.
__device__ __forceinline__ int seen(const Heads& p, int start, int token) {
    int keys = p.causal ? min(start + token + 1, p.keys) : p.keys;
    return token < p.firstQuery ? 0 : keys;
}

// Keys that any of the queries from first on sees, which share a warp.
__device__ __forceinline__ int most_seen(const Heads& p, int start, int first, int count) {
    return first < p.tokens ? seen(p, start, min(first + count, p.tokens) - 1) : 0;
}

constexpr int kThreads = 256;

__device__ __forceinline__ int thread_row() { return static_cast<int>(threadIdx.x) / 16; }

__device__ __forceinline__ int thread_column() { return static_cast<int>(threadIdx.x) % 16; }

template <int D, int R>
constexpr int kTile = 16 * R * (D + 4);

// Rows [0, rows) and columns [0, width) of a matrix, zeros elsewhere; there after cp_async_wait and a barrier.
template <int D, int R>
__device__ __forceinline__ void load_rows(float* tile, const float* from, int64 stride, int rows, int width) {
    if (width % 4 == 0) {
#pragma unroll 1
        for (int x = static_cast<int>(threadIdx.x); x < 16 * R * D / 4; x += kThreads) {
            int row = x / (D / 4), column = x % (D / 4) * 4;
            bool valid = row < rows && column < width;
            cp_async_16(tile + row * (D + 4) + column, valid ? from + row * stride + column : from, valid);
        }
    } else {
#pragma unroll 1
        for (int x = static_cast<int>(threadIdx.x); x < 16 * R * D; x += kThreads) {
            int row = x / D, column = x % D;
            tile[row * (D + 4) + column] = row < rows && column < width ? from[row * stride + column] : 0.0f;
        }
    }
}

__device__ __forceinline__ void tiles_arrived() {
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
}

// s[r][c] = row R thread_row() + r of a times row thread_column() + 16 c of b, over a depth that zeros follow.
template <int D, int R>
__device__ __forceinline__ void multiply_transposed(float (&s)[R][R], const float* a, const float* b, int depth) {
    for (int r = 0; r < R; r++) {
        for (int c = 0; c < R; c++) {
            s[r][c] = 0.0f;
        }
    }
#pragma unroll 2
    for (int i = 0; i < depth; i += 4) {
        float x[R][4], y[R][4];
#pragma unroll
        for (int r = 0; r < R; r++) {
            load_vector(a + (R * thread_row() + r) * (D + 4) + i, x[r]);
            load_vector(b + (thread_column() + 16 * r) * (D + 4) + i, y[r]);
        }
#pragma unroll
        for (int r = 0; r < R; r++) {
#pragma unroll
            for (int c = 0; c < R; c++) {
#pragma unroll
                for (int e = 0; e < 4; e++) {
                    s[r][c] = fmaf(x[r][e], y[c][e], s[r][c]);
                }
            }
        }
    }
}

// Column of element x of the D / 16 that a thread holds of each row of a sum.
__device__ __forceinline__ int sum_column(int x) { return x / 4 * 64 + thread_column() * 4 + x % 4; }

// sums += p b, through the probabilities' place in shared memory, over a depth behind which p is zero.
template <int D, int R>
__device__ __forceinline__ void multiply_add(
    float (&sums)[R][D / 16], const float (&p)[R][R], float* shared, const float* b, int depth) {
    constexpr int kStride = 16 * R + 4;
    float* rows = shared + R * thread_row() * kStride;
    __syncwarp(kAllLanes);
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int c = 0; c < R; c++) {
            rows[r * kStride + thread_column() + 16 * c] = p[r][c];
        }
    }
    __syncwarp(kAllLanes);
#pragma unroll 1
    for (int j = 0; j < min(16 * R, depth); j += 4) {
        float weights[R][4];
#pragma unroll
        for (int r = 0; r < R; r++) {
            load_vector(rows + r * kStride + j, weights[r]);
        }
#pragma unroll
        for (int e = 0; e < 4; e++) {
#pragma unroll
            for (int x = 0; x < D / 16; x += 4) {
                float y[4];
                load_vector(b + (j + e) * (D + 4) + sum_column(x), y);
#pragma unroll
                for (int r = 0; r < R; r++) {
#pragma unroll
                    for (int i = 0; i < 4; i++) {
                        sums[r][x + i] = fmaf(weights[r][e], y[i], sums[r][x + i]);
                    }
                }
            }
        }
    }
}

template <typename Reduce>
__device__ __forceinline__ float row_reduce(float x, Reduce reduce) {
#pragma unroll
    for (int distance = 8; distance > 0; distance /= 2) {
        x = reduce(x, __shfl_xor_sync(kAllLanes, x, distance));
    }
    return x;
}

template <int D, int R>
__device__ __forceinline__ void attend(const float* q, const float* k, const float* v, const int* starts, float* o, float* lse,
    int merge, const Heads& p) {
    constexpr int kRows = 16 * R;
    DYNAMIC_SHARED(float, queryTile);
    float *keyTile = queryTile + kTile<D, R>, *valueTile = keyTile + kTile<D, R>, *shared = valueTile + kTile<D, R>;
    int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;  // the longest rows first
    int start = starts == nullptr ? 0 : starts[sample], keys = seen(p, start, min(first + kRows, p.tokens) - 1);
    int64 token = static_cast<int64>(sample) * p.tokens + first;
    if (keys <= 0) {
        return;
    }
    int64 keyAt = sample * p.keySample + head / (p.heads / p.groups) * p.keyHead;
    load_rows<D, R>(queryTile, q + token * p.queryStride + head * p.width, p.queryStride, p.tokens - first, p.width);

    int most = most_seen(p, start, first + 2 * R * warp(), 2 * R);
    float out[R][D / 16] = {}, top[R], sum[R] = {};
    for (int r = 0; r < R; r++) {
        top[r] = -infinity();
    }
    for (int from = 0; from < keys; from += kRows) {
        __syncthreads();
        load_rows<D, R>(keyTile, k + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        load_rows<D, R>(valueTile, v + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        tiles_arrived();
        if (from >= most) {
            continue;
        }
        float s[R][R];
        multiply_transposed<D, R>(s, queryTile, keyTile, p.width);
#pragma unroll
        for (int r = 0; r < R; r++) {
            int visible = min(keys, seen(p, start, first + R * thread_row() + r)) - from;
            float highest = top[r];
#pragma unroll
            for (int c = 0; c < R; c++) {
                s[r][c] = thread_column() + 16 * c < visible ? s[r][c] * p.scale : -infinity();
                highest = fmaxf(highest, s[r][c]);
            }
            highest = row_reduce(highest, Max());
            float base = highest == -infinity() ? 0.0f : highest, shrink = expf(top[r] - base), added = 0.0f;
#pragma unroll
            for (int c = 0; c < R; c++) {
                s[r][c] = expf(s[r][c] - base);
                added += s[r][c];
            }
            top[r] = highest;
            sum[r] = sum[r] * shrink + added;
#pragma unroll
            for (int x = 0; x < D / 16; x++) {
                out[r][x] *= shrink;
            }
        }
        multiply_add<D, R>(out, s, shared, valueTile, most - from);
    }
#pragma unroll
    for (int r = 0; r < R; r++) {
        int own = R * thread_row() + r, t = first + own;
        bool valid = t < p.tokens && seen(p, start, t) > 0, one = lse != nullptr && valid && thread_column() == 0;
        float* stat = lse + (static_cast<int64>(sample) * p.heads + head) * p.tokens + t;
        float total = row_reduce(sum[r], Sum()), kept = 0.0f, taken = 1.0f / total;
        float old = __shfl_sync(kAllLanes, merge && one ? *stat : 0.0f, lane() / 16 * 16);
        float found = top[r] + logf(total);
        if (merge) {
            float merged = fmaxf(old, found) + log1pf(expf(-fabsf(old - found)));
            kept = expf(old - merged);
            taken *= expf(found - merged);
            found = merged;
        }
        if (one) {
            *stat = found;
        }
        float* row = o + (token + own) * p.outStride + head * p.width;
        for (int x = 0; valid && x < D / 16; x++) {
            int column = sum_column(x);
            if (column < p.width) {
                row[column] = taken * out[r][x] + (merge ? kept * row[column] : 0.0f);
            }
        }
    }
}

// p = exp(scale s - lse) of pairs that see each other, in place, and dS = p (dp - delta), also in place.
template <int R, typename Seen, typename LogSum, typename Delta>
__device__ __forceinline__ void score_gradients(
    float (&s)[R][R], float (&ds)[R][R], float scale, Seen sees, LogSum logSum, Delta delta) {
#pragma unroll
    for (int r = 0; r < R; r++) {
#pragma unroll
        for (int c = 0; c < R; c++) {
            s[r][c] = sees(r, c) ? expf(fmaf(s[r][c], scale, -logSum(r, c))) : 0.0f;
            ds[r][c] = s[r][c] * (ds[r][c] - delta(r, c));
        }
    }
}

template <int D, int R>
__device__ __forceinline__ void store_rows(const Heads& p, float* to, int rows, const float (&sums)[R][D / 16], float factor,
    bool accumulate) {
#pragma unroll
    for (int r = 0; r < R; r++) {
        int row = R * thread_row() + r;
#pragma unroll
        for (int x = 0; x < D / 16; x++) {
            int column = sum_column(x);
            if (row < rows && column < p.width) {
                float* at = to + row * p.gradientStride + column;
                *at = factor * sums[r][x] + (accumulate ? *at : 0.0f);
            }
        }
    }
}

template <int D, int R>
__device__ __forceinline__ void query_gradient(const float* q, const float* k, const float* v, const float* o,
    const float* lse, const float* gradOut, float* dq, float* delta, int accumulate, const Heads& p) {
    constexpr int kRows = 16 * R;
    DYNAMIC_SHARED(float, queryTile);
    float *gradTile = queryTile + kTile<D, R>, *keyTile = gradTile + kTile<D, R>, *valueTile = keyTile + kTile<D, R>;
    float* shared = valueTile + kTile<D, R>;
    int head = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(gridDim.x - 1 - blockIdx.x) * kRows;  // the longest rows first
    int keys = seen(p, 0, min(first + kRows, p.tokens) - 1);
    int64 token = static_cast<int64>(sample) * p.tokens + first, outAt = token * p.outStride + head * p.width;
    int64 keyAt = sample * p.keySample + head / (p.heads / p.groups) * p.keyHead;
    int64 statAt = (static_cast<int64>(sample) * p.heads + head) * p.tokens + first;
    load_rows<D, R>(queryTile, q + token * p.queryStride + head * p.width, p.queryStride, p.tokens - first, p.width);
    load_rows<D, R>(gradTile, gradOut + outAt, p.outStride, p.tokens - first, p.width);

    int most = most_seen(p, 0, first + 2 * R * warp(), 2 * R);
    float sums[R][D / 16] = {}, logSum[R], own[R];
#pragma unroll
    for (int r = 0; r < R; r++) {
        int row = R * thread_row() + r;
        bool valid = first + row < p.tokens;
        own[r] = 0.0f;
        for (int x = thread_column(); valid && x < p.width; x += 16) {
            int64 at = outAt + row * p.outStride + x;
            own[r] = fmaf(o[at], gradOut[at], own[r]);
        }
        own[r] = row_reduce(own[r], Sum());
        logSum[r] = valid ? lse[statAt + row] : 0.0f;
        if (valid && thread_column() == 0) {
            delta[statAt + row] = own[r];
        }
    }
    for (int from = 0; from < keys; from += kRows) {
        __syncthreads();
        load_rows<D, R>(keyTile, k + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        load_rows<D, R>(valueTile, v + keyAt + from * p.keyStride, p.keyStride, keys - from, p.width);
        tiles_arrived();
        if (from >= most) {
            continue;
        }
        float s[R][R], ds[R][R];
        multiply_transposed<D, R>(s, queryTile, keyTile, p.width);
        multiply_transposed<D, R>(ds, gradTile, valueTile, p.width);
        score_gradients<R>(
            s, ds, p.scale,
            [&](int r, int c) {
                return from + thread_column() + 16 * c < min(keys, seen(p, 0, first + R * thread_row() + r));
            },
            [&](int r, int) { return logSum[r]; }, [&](int r, int) { return own[r]; });
        multiply_add<D, R>(sums, ds, shared, keyTile, most - from);
    }
    tiles_arrived();
    store_rows<D, R>(p, dq + token * p.gradientStride + head * p.width, p.tokens - first, sums, p.scale, accumulate);
}

template <int D, int R>
__device__ __forceinline__ void key_gradients(const float* q, const float* k, const float* v, const float* lse,
    const float* gradOut, const float* delta, float* dk, float* dv, const Heads& p) {
    constexpr int kRows = 16 * R;
    DYNAMIC_SHARED(float, keyTile);
    float *valueTile = keyTile + kTile<D, R>, *queryTile = valueTile + kTile<D, R>, *gradTile = queryTile + kTile<D, R>;
    float* shared = gradTile + kTile<D, R>;
    int group = static_cast<int>(blockIdx.y), sample = static_cast<int>(blockIdx.z);
    int first = static_cast<int>(blockIdx.x) * kRows, share = p.heads / p.groups;
    int64 token = static_cast<int64>(sample) * p.tokens;
    int64 keyAt = sample * p.keySample + group * p.keyHead + first * p.keyStride;
    load_rows<D, R>(keyTile, k + keyAt, p.keyStride, p.keys - first, p.width);
    load_rows<D, R>(valueTile, v + keyAt, p.keyStride, p.keys - first, p.width);

    float sumsK[R][D / 16] = {}, sumsV[R][D / 16] = {};
    int begin = (p.causal ? max(first, p.firstQuery) : p.firstQuery) / kRows * kRows;
    for (int head = group * share; first < p.keys && head < (group + 1) * share; head++) {
        int64 statAt = (static_cast<int64>(sample) * p.heads + head) * p.tokens;
        for (int from = begin; from < p.tokens; from += kRows) {
            int64 at = token + from;
            __syncthreads();
            load_rows<D, R>(queryTile, q + at * p.queryStride + head * p.width, p.queryStride, p.tokens - from, p.width);
            load_rows<D, R>(gradTile, gradOut + at * p.outStride + head * p.width, p.outStride, p.tokens - from, p.width);
            tiles_arrived();
            if (seen(p, 0, min(from + kRows, p.tokens) - 1) <= first + 2 * R * warp()) {
                continue;
            }
            float s[R][R], ds[R][R], logSum[R], own[R];
            int visible[R];
#pragma unroll
            for (int c = 0; c < R; c++) {
                int query = from + thread_column() + 16 * c;
                bool valid = query < p.tokens;
                visible[c] = valid ? seen(p, 0, query) : 0;
                logSum[c] = valid ? lse[statAt + query] : 0.0f;
                own[c] = valid ? delta[statAt + query] : 0.0f;
            }
            multiply_transposed<D, R>(s, keyTile, queryTile, p.width);
            multiply_transposed<D, R>(ds, valueTile, gradTile, p.width);
            score_gradients<R>(
                s, ds, p.scale, [&](int r, int c) { return first + R * thread_row() + r < visible[c]; },
                [&](int, int c) { return logSum[c]; }, [&](int, int c) { return own[c]; });
            multiply_add<D, R>(sumsV, s, shared, gradTile, p.tokens - from);
            multiply_add<D, R>(sumsK, ds, shared, queryTile, p.tokens - from);
        }
    }
    tiles_arrived();
    int64 at = (token + first) * p.gradientStride + group * p.width;
    store_rows<D, R>(p, dk + at, p.tokens - first, sumsK, p.scale, false);
    store_rows<D, R>(p, dv + at, p.tokens - first, sumsV, 1.0f, false);
}

#define KERNELS(D, R)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256, 1) attention_##D##_f32(const float* q, const float* k,                \
        const float* v, const int* starts, float* o, float* lse, int tokens, int heads, int groups, int width,           \
        int64 queryStride, int64 outStride, int64 keyStride, int64 keyHead, int64 keySample, int firstQuery, int keys,   \
        int causal, int merge, float scale) {                                                                             \
        attend<D, R>(q, k, v, starts, o, lse, merge,                                                                      \
            {tokens, heads, groups, width, queryStride, outStride, keyStride, keyHead, keySample, 0, firstQuery, keys,   \
                causal, scale});                                                                                          \
    }                                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256, 1) attention_dq_##D##_f32(const float* q, const float* k,             \
        const float* v, const float* o, const float* lse, const float* gradOut, float* dq, float* delta, int tokens,     \
        int heads, int groups, int width, int64 queryStride, int64 outStride, int64 keyStride, int64 gradientStride,     \
        int firstQuery, int keys, int causal, float scale, int accumulate) {                                              \
        query_gradient<D, R>(q, k, v, o, lse, gradOut, dq, delta, accumulate,                                             \
            {tokens, heads, groups, width, queryStride, outStride, keyStride, width, tokens * keyStride, gradientStride, \
                firstQuery, keys, causal, scale});                                                                        \
    }                                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256, 1) attention_dkv_##D##_f32(const float* q, const float* k,            \
        const float* v, const float* lse, const float* gradOut, const float* delta, float* dk, float* dv, int tokens,    \
        int heads, int groups, int width, int64 queryStride, int64 outStride, int64 keyStride, int64 gradientStride,     \
        int firstQuery, int keys, int causal, float scale) {                                                              \
        key_gradients<D, R>(q, k, v, lse, gradOut, delta, dk, dv,                                                         \
            {tokens, heads, groups, width, queryStride, outStride, keyStride, width, tokens * keyStride, gradientStride, \
                firstQuery, keys, causal, scale});                                                                        \
    }

KERNELS(64, 4)
KERNELS(128, 4)
KERNELS(256, 2)
