// Attention of a few new tokens over a cache. qkv is [B, T, (H + 2 G) K]; cacheK and cacheV are [B, G, capacity, K]; row b holds
// starts[b] tokens, and its token t sees these and the new ones up to itself (many tokens at once take attention.cu).
//
//   append   new keys and values go to the positions starts[b] + t                          8 G K bytes a token in bf16
//   decode   exp(scale q k^T - top) v, its sum and top over 256 keys for up to 8 rows (token, head) of one group, so that a
//            key is read once for all heads that share it; partial [B, H, T, chunks, K + 2] f32   4 K bytes a key in bf16
//   merge    o [B, T, H, K] from the chunks that a row sees, in their order                       4 (K + 2) bytes a chunk
//
// FLOPs: 4 K for each row and key. Bound on an H100: memory, 3.35 TB/s. Launch: blocks of 256 threads, (T, B) for append,
// (chunks, G ceil(T H / G / 8), B) for decode, where blocks past the keys that are there end at once, (H, T, B) for merge.
// K <= 256.
#include "brazier.cuh"

constexpr int kThreads = 256;
constexpr int kChunk = kThreads;
constexpr int kRows = 8;
constexpr int kMaxWidth = 256;

template <typename T>
__device__ __forceinline__ void append(
    const T* qkv, const int* starts, T* cacheK, T* cacheV, int heads, int groups, int width, int capacity) {
    int64 row = static_cast<int64>(blockIdx.y) * gridDim.x + blockIdx.x;
    const T* k = qkv + (row * (heads + 2 * groups) + heads) * width;
    int64 at = static_cast<int64>(blockIdx.y) * groups * capacity + starts[blockIdx.y] + blockIdx.x;
    for (int x = static_cast<int>(threadIdx.x); x < groups * width; x += kThreads) {
        int64 to = (at + static_cast<int64>(x / width) * capacity) * width + x % width;
        cacheK[to] = k[x];
        cacheV[to] = k[groups * width + x];
    }
}

template <typename T, int V>
__device__ __forceinline__ void load(const T* from, float (&to)[V]) {
    if constexpr (V == 1) {
        to[0] = to_float(*from);
    } else {
        load_vector(from, to);
    }
}

// Rows of a block, and of what they see.
struct Rows {
    int tokens, heads, groups, width, start;

    __device__ __forceinline__ int share() const { return heads / groups; }

    __device__ __forceinline__ int group() const { return static_cast<int>(blockIdx.y) % groups; }

    __device__ __forceinline__ int first() const { return static_cast<int>(blockIdx.y) / groups * kRows; }

    __device__ __forceinline__ int count() const { return min(kRows, share() * tokens - first()); }

    __device__ __forceinline__ int token(int row) const { return (first() + row) / share(); }

    __device__ __forceinline__ int head(int row) const { return group() * share() + (first() + row) % share(); }
};

template <typename T, int V>
__device__ __forceinline__ void decode(const T* qkv, const T* k, const T* v, float* partial, const Rows& p, float scale) {
    __shared__ float queries[kRows][kMaxWidth];
    __shared__ float weights[kRows][kChunk];
    __shared__ float sums[kThreads * V];
    int x = static_cast<int>(threadIdx.x), from = static_cast<int>(blockIdx.x) * kChunk;
    int64 sample = blockIdx.z;
    for (int i = x; i < kRows * p.width; i += kThreads) {
        int row = i / p.width, column = i % p.width;
        int64 at = ((sample * p.tokens + p.token(row)) * (p.heads + 2 * p.groups) + p.head(row)) * p.width + column;
        queries[row][column] = row < p.count() ? to_float(qkv[at]) : 0.0f;
    }
    __syncthreads();

    // Scores: a key a thread.
    int keys = min(kChunk, p.start + p.tokens - from);
    float s[kRows] = {};
    for (int i = 0; x < keys && i < p.width; i += V) {
        float y[V];
        load<T, V>(k + static_cast<int64>(x) * p.width + i, y);
#pragma unroll
        for (int row = 0; row < kRows; row++) {
#pragma unroll
            for (int e = 0; e < V; e++) {
                s[row] = fmaf(queries[row][i + e], y[e], s[row]);
            }
        }
    }
#pragma unroll
    for (int row = 0; row < kRows; row++) {
        weights[row][x] = x < keys && from + x <= p.start + p.token(row) ? s[row] * scale : -infinity();
    }
    __syncthreads();

    // Weights: a row a warp.
    int row = warp();
    float top = -infinity(), sum = 0.0f;
    for (int i = lane(); i < kChunk; i += kWarpSize) {
        top = fmaxf(top, weights[row][i]);
    }
    top = warp_reduce(top, Max());
    for (int i = lane(); i < kChunk; i += kWarpSize) {
        weights[row][i] = top == -infinity() ? 0.0f : expf(weights[row][i] - top);
        sum += weights[row][i];
    }
    sum = warp_reduce(sum, Sum());
    auto target = [&](int r) {
        return partial
            + (((sample * p.heads + p.head(r)) * p.tokens + p.token(r)) * gridDim.x + blockIdx.x) * (p.width + 2);
    };
    if (row < p.count() && lane() == 0) {
        target(row)[p.width] = top;
        target(row)[p.width + 1] = sum;
    }
    __syncthreads();

    // Values: V columns a thread, every so many keys.
    int pieces = p.width / V, stride = kThreads / pieces, own = x / pieces, column = x % pieces * V;
    float out[kRows][V] = {};
    for (int key = own; own < stride && key < keys; key += stride) {
        float y[V];
        load<T, V>(v + static_cast<int64>(key) * p.width + column, y);
#pragma unroll
        for (int r = 0; r < kRows; r++) {
#pragma unroll
            for (int e = 0; e < V; e++) {
                out[r][e] = fmaf(weights[r][key], y[e], out[r][e]);
            }
        }
    }
#pragma unroll
    for (int r = 0; r < kRows; r++) {
        __syncthreads();
        for (int e = 0; own < stride && e < V; e++) {
            sums[own * p.width + column + e] = out[r][e];
        }
        __syncthreads();
        float total = 0.0f;
        for (int i = 0; x < p.width && i < stride; i++) {
            total += sums[i * p.width + x];
        }
        if (x < p.width && r < p.count()) {
            target(r)[x] = total;
        }
    }
}

template <typename T>
__device__ __forceinline__ void decode(const T* qkv, const T* cacheK, const T* cacheV, const int* starts, float* partial,
    int tokens, int heads, int groups, int width, int capacity, float scale) {
    Rows p{tokens, heads, groups, width, starts[blockIdx.z]};
    int64 from = static_cast<int64>(blockIdx.x) * kChunk;
    if (from >= p.start + tokens) {
        return;
    }
    int64 at = ((static_cast<int64>(blockIdx.z) * groups + p.group()) * capacity + from) * width;
    if (width % kVector<T> == 0) {
        decode<T, kVector<T>>(qkv, cacheK + at, cacheV + at, partial, p, scale);
    } else {
        decode<T, 1>(qkv, cacheK + at, cacheV + at, partial, p, scale);
    }
}

template <typename T>
__device__ __forceinline__ void merge(const float* partial, const int* starts, T* o, int width, int chunks) {
    int head = static_cast<int>(blockIdx.x), token = static_cast<int>(blockIdx.y);
    int64 heads = gridDim.x, tokens = gridDim.y, sample = blockIdx.z;
    const float* from = partial + ((sample * heads + head) * tokens + token) * chunks * (width + 2);
    int seen = (starts[sample] + token) / kChunk + 1, x = static_cast<int>(threadIdx.x);
    float top = -infinity();
    for (int c = 0; c < seen; c++) {
        top = fmaxf(top, from[c * (width + 2) + width]);
    }
    float out = 0.0f, sum = 0.0f;
    for (int c = 0; x < width && c < seen; c++) {
        const float* part = from + c * (width + 2);
        float weight = expf(part[width] - top);
        sum = fmaf(weight, part[width + 1], sum);
        out = fmaf(weight, part[x], out);
    }
    if (x < width) {
        o[((sample * tokens + token) * heads + head) * width + x] = from_float<T>(out / sum);
    }
}

#define DECODING(Type, T)                                                                                                 \
    extern "C" __global__ void __launch_bounds__(256) append_##Type(const T* qkv, const int* starts, T* cacheK, T* cacheV, \
        int heads, int groups, int width, int capacity) {                                                                 \
        append(qkv, starts, cacheK, cacheV, heads, groups, width, capacity);                                              \
    }                                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256, 2) decode_##Type(const T* qkv, const T* cacheK, const T* cacheV,      \
        const int* starts, float* partial, int tokens, int heads, int groups, int width, int capacity, float scale) {    \
        decode(qkv, cacheK, cacheV, starts, partial, tokens, heads, groups, width, capacity, scale);                      \
    }                                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) merge_##Type(                                                       \
        const float* partial, const int* starts, T* o, int width, int chunks) {                                          \
        merge(partial, starts, o, width, chunks);                                                                         \
    }

DECODING(f32, float)
DECODING(bf16, bf16)
