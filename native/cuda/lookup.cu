// Rows that ids name. The table [vocabulary, width] holds the rows of ids from firstId on; other ids take zeros and give nothing.
//
//   embedding         y[row] = table[ids[row] - firstId] (+ addend[row]), in place of the addend if one likes   4 (6) bytes
//   embedding_grad    dtable[v] += sum of dy[row] where ids[row] = firstId + v, dtable f32                      2 bytes, 1 FLOP, and
//                                                                                       8 bytes an element of rows that are named
//   select_token      y[b] = x[b, rows[b]]                                                                      4 bytes
//
// Bytes are those of an element of dy or y in bf16; f32 takes twice. Bound on an H100: memory, 3.35 TB/s, for embedding_grad also
// ids read rows^2 / 2 times from a cache. Launch: 256 threads; a warp takes a row of embedding, a block a sample of select_token.
// embedding_grad: grid (rows, ceil(width / 256 / vector)); the block of the first row with an id adds up all rows with it, in their
// order and without atomics, the others end when they find one before them.
#include "brazier.cuh"

constexpr int kThreads = 256;
constexpr int kWarps = kThreads / kWarpSize;
constexpr int kIds = 1024;                 // ids that a block looks through at a time
constexpr int kRounds = kIds / kThreads;   // a warp takes 32 neighbouring ones in each round

template <typename T>
__device__ __forceinline__ void embedding(
    const int* ids, const T* table, const T* addend, T* y, int64 rows, int width, int vocabulary, int64 firstId) {
    int64 row = warp_row();
    if (row >= rows) {
        return;
    }
    int64 id = ids[row] - firstId;
    bool held = id >= 0 && id < vocabulary;
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_column<V>(width, [=](int column) {
            float v[V] = {}, plus[V] = {};
            if (held) {
                load_elements<V>(table + id * width + column, v);
            }
            if (addend != nullptr) {
                load_elements<V>(addend + row * width + column, plus);
            }
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] += plus[e];
            }
            store_elements<V>(y + row * width + column, v);
        });
    });
}

// The places of an id among ids[from, from + kIds), in their order, and their number. All threads of the block must call it.
__device__ __forceinline__ int find(const int* ids, int rows, int from, int id, int* places) {
    __shared__ int counts[kWarps];
    unsigned found[kRounds];
    int mine = 0, first = from + warp() * kRounds * kWarpSize;
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
        int row = first + round * kWarpSize + lane();
        found[round] = __ballot_sync(kAllLanes, row < rows && ids[row] == id);
        mine += __popc(found[round]);
    }
    __syncthreads();
    if (lane() == 0) {
        counts[warp()] = mine;
    }
    __syncthreads();
    int at = 0, total = 0;
#pragma unroll
    for (int w = 0; w < kWarps; w++) {
        at += w < warp() ? counts[w] : 0;
        total += counts[w];
    }
#pragma unroll
    for (int round = 0; round < kRounds; round++) {
        unsigned below = found[round] & ((1u << lane()) - 1);
        if ((found[round] >> lane() & 1) != 0) {
            places[at + __popc(below)] = first + round * kWarpSize + lane();
        }
        at += __popc(found[round]);
    }
    __syncthreads();
    return total;
}

template <typename T, int V>
__device__ __forceinline__ void add_rows(const int* ids, const T* dy, float* to, int rows, int width, int id, int column) {
    __shared__ int places[kIds];
    int own = static_cast<int>(blockIdx.x);
    bool mine = column < width;
    float sums[V] = {};
    for (int from = 0; from < rows; from += kIds) {
        int count = find(ids, rows, from, id, places);
        if (count > 0 && places[0] < own) {
            return;
        }
#pragma unroll 4
        for (int i = 0; mine && i < count; i++) {
            float v[V];
            load_elements<V>(dy + static_cast<int64>(places[i]) * width + column, v);
#pragma unroll
            for (int e = 0; e < V; e++) {
                sums[e] += v[e];
            }
        }
    }
    if (mine) {
        float v[V];
        load_elements<V>(to + column, v);
#pragma unroll
        for (int e = 0; e < V; e++) {
            v[e] += sums[e];
        }
        store_elements<V>(to + column, v);
    }
}

template <typename T>
__device__ __forceinline__ void embedding_grad(
    const int* ids, const T* dy, float* dtable, int rows, int width, int vocabulary, int64 firstId) {
    int id = ids[blockIdx.x];
    int64 row = id - firstId;
    if (row < 0 || row >= vocabulary) {
        return;
    }
    int thread = static_cast<int>(threadIdx.x), tile = static_cast<int>(blockIdx.y) * kThreads * kVector<T>;
    if (width % kVector<T> == 0) {
        add_rows<T, kVector<T>>(ids, dy, dtable + row * width, rows, width, id, tile + thread * kVector<T>);
    } else {
        for (int part = 0; part < kVector<T>; part++) {
            add_rows<T, 1>(ids, dy, dtable + row * width, rows, width, id, tile + part * kThreads + thread);
        }
    }
}

template <typename T>
__device__ __forceinline__ void select_token(const T* x, const int* rows, T* y, int tokens, int width) {
    int64 sample = blockIdx.x;
    const T* from = x + (sample * tokens + rows[sample]) * width;
    T* to = y + sample * width;
    for (int i = static_cast<int>(threadIdx.x); i < width; i += kThreads) {
        to[i] = from[i];
    }
}

#define LOOKUPS(Type, T)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) embedding_##Type(const int* ids, const T* table, const T* addend,      \
        T* y, int64 rows, int width, int vocabulary, int64 firstId) {                                                        \
        embedding(ids, table, addend, y, rows, width, vocabulary, firstId);                                                  \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) embedding_grad_##Type(                                                 \
        const int* ids, const T* dy, float* dtable, int rows, int width, int vocabulary, int64 firstId) {                    \
        embedding_grad(ids, dy, dtable, rows, width, vocabulary, firstId);                                                   \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) select_token_##Type(                                                   \
        const T* x, const int* rows, T* y, int tokens, int width) {                                                          \
        select_token(x, rows, y, tokens, width);                                                                             \
    }

LOOKUPS(f32, float)
LOOKUPS(bf16, bf16)
