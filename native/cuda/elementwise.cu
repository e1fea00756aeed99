// Maps over flat arrays and over matrices [rows, width]; every output may be one of its inputs of the same type.
//
//   add        y = a + b                                    12 bytes and 1 FLOP an element in f32, 6 bytes in bf16
//   scale      y = factor x                                  8 bytes and 1 FLOP, 4 bytes in bf16
//   add_bias   y = x + bias[column] (+ addend)               8 bytes and 1 FLOP (12 and 2), half in bf16
//   cast       y = x in the other type, to nearest even      6 bytes
//   dropout    y = draw >= rate ? x / (1 - rate) : 0         8 bytes and about 30 integer operations, 4 bytes in bf16
//   count_nonfinite   elements that are infinite or NaN      4 bytes, 2 in bf16
//
// Bound on an H100: memory, 3.35 TB/s. Launch: 256 threads, each striding over 16-byte vectors; pointers are 16-byte aligned. Rows
// that do not hold whole vectors are taken element by element.
#include "brazier.cuh"

// f(V, i) for whole vectors, then f(1, i) for the rest of a flat array.
template <int V, typename F>
__device__ __forceinline__ void for_each_vector(int64 count, F f) {
    int64 vectors = count / V;
    for (int64 v = global_thread(); v < vectors; v += global_threads()) {
        f(Constant<V>{}, v * V);
    }
    for (int64 i = vectors * V + global_thread(); i < count; i += global_threads()) {
        f(Constant<1>{}, i);
    }
}

template <typename T>
__device__ __forceinline__ void add(const T* a, const T* b, T* y, int64 count) {
    for_each_vector<kVector<T>>(count, [=](auto size, int64 i) {
        constexpr int V = decltype(size)::value;
        float v[V], w[V];
        load_elements<V>(a + i, v);
        load_elements<V>(b + i, w);
#pragma unroll
        for (int e = 0; e < V; e++) {
            v[e] += w[e];
        }
        store_elements<V>(y + i, v);
    });
}

template <typename X, typename Y>
__device__ __forceinline__ void scale(const X* x, Y* y, int64 count, float factor) {
    constexpr int kLonger = kVector<X> > kVector<Y> ? kVector<X> : kVector<Y>;
    for_each_vector<kLonger>(count, [=](auto size, int64 i) {
        constexpr int V = decltype(size)::value;
        float v[V];
        load_elements<V>(x + i, v);
#pragma unroll
        for (int e = 0; e < V; e++) {
            v[e] *= factor;
        }
        store_elements<V>(y + i, v);
    });
}

template <typename T, typename W>
__device__ __forceinline__ void add_bias(const T* x, const W* bias, const T* addend, T* y, int64 rows, int64 width) {
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_piece<V>(rows, width, [=](int64 row, int64 column) {
            int64 i = row * width + column;
            float v[V], b[V];
            load_elements<V>(x + i, v);
            load_elements<V>(bias + column, b);
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] += b[e];
            }
            if (addend != nullptr) {
                load_elements<V>(addend + i, b);
#pragma unroll
                for (int e = 0; e < V; e++) {
                    v[e] += b[e];
                }
            }
            store_elements<V>(y + i, v);
        });
    });
}

// Philox4x32-10 (Salmon et al., SC 2011): four words for a counter under a key.
__device__ __forceinline__ void philox(unsigned (&c)[4], unsigned k0, unsigned k1) {
#pragma unroll
    for (int round = 0; round < 10; round++) {
        unsigned high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
        unsigned high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
}

// One range of tokens of each sample: x and y point to the first sample's, samples lie `stride` elements apart, `count` elements
// of each are taken. Element 0 of sample b is element (firstRow + row + b samples' rows) * width of the whole array, and element e
// of that takes word e % 4 of counter (e / 4, step, stream): a thread takes the elements of one counter. rng {seed, step, firstRow}.
template <typename T>
__device__ __forceinline__ void dropout(const T* x, T* y, const int64* rng, int64 count, int64 stride, int64 row, int64 sampleRows,
    int64 width, int stream, float rate) {
    int64 sample = blockIdx.y, first = (rng[2] + row + sample * sampleRows) * width, groups = (first + count + 3) / 4;
    const T* from = x + sample * stride - first;
    T* to = y + sample * stride - first;
    unsigned long long seed = static_cast<unsigned long long>(rng[0]);
    float kept = 1.0f / (1.0f - rate);
    bool aligned = reinterpret_cast<unsigned long long>(from) % (4 * sizeof(T)) == 0
        && reinterpret_cast<unsigned long long>(to) % (4 * sizeof(T)) == 0;
    for (int64 group = first / 4 + global_thread(); group < groups; group += global_threads()) {
        unsigned words[4] = {static_cast<unsigned>(group), static_cast<unsigned>(group >> 32), static_cast<unsigned>(rng[1]),
            static_cast<unsigned>(stream)};
        philox(words, static_cast<unsigned>(seed), static_cast<unsigned>(seed >> 32));
        int64 e = 4 * group;
        float v[4];
        if (aligned && e >= first && e + 4 <= first + count) {
            load_elements<4>(from + e, v);
#pragma unroll
            for (int i = 0; i < 4; i++) {
                v[i] *= static_cast<float>(words[i] >> 8) * 0x1p-24f >= rate ? kept : 0.0f;
            }
            store_elements<4>(to + e, v);
        } else {
#pragma unroll
            for (int i = 0; i < 4; i++) {
                if (e + i >= first && e + i < first + count) {
                    float factor = static_cast<float>(words[i] >> 8) * 0x1p-24f >= rate ? kept : 0.0f;
                    to[e + i] = from_float<T>(to_float(from[e + i]) * factor);
                }
            }
        }
    }
}

// Adds to *found, which sums of whole numbers leave the same in any order.
template <typename T>
__device__ __forceinline__ void count_nonfinite(const T* x, int64 count, int* found) {
    int mine = 0;
    for_each_vector<kVector<T>>(count, [&](auto size, int64 i) {
        constexpr int V = decltype(size)::value;
        float v[V];
        load_elements<V>(x + i, v);
#pragma unroll
        for (int e = 0; e < V; e++) {
            mine += (__float_as_uint(v[e]) & 0x7f800000u) == 0x7f800000u;
        }
    });
    if (mine > 0) {
        atomicAdd(found, mine);
    }
}

#define MAPS(Type, T)                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) add_##Type(const T* a, const T* b, T* y, int64 count) {                \
        add(a, b, y, count);                                                                                                 \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) scale_##Type(const T* x, T* y, int64 count, float factor) {            \
        scale(x, y, count, factor);                                                                                          \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) add_bias_##Type##_f32(                                                 \
        const T* x, const float* bias, const T* addend, T* y, int64 rows, int64 width) {                                     \
        add_bias(x, bias, addend, y, rows, width);                                                                           \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) add_bias_##Type##_bf16(                                                \
        const T* x, const bf16* bias, const T* addend, T* y, int64 rows, int64 width) {                                      \
        add_bias(x, bias, addend, y, rows, width);                                                                           \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) dropout_##Type(const T* x, T* y, const int64* rng, int64 count,        \
        int64 stride, int64 row, int64 sampleRows, int64 width, int stream, float rate) {                                    \
        dropout(x, y, rng, count, stride, row, sampleRows, width, stream, rate);                                             \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) count_nonfinite_##Type(const T* x, int64 count, int* found) {          \
        count_nonfinite(x, count, found);                                                                                    \
    }

MAPS(f32, float)
MAPS(bf16, bf16)

extern "C" __global__ void __launch_bounds__(256) cast_f32_bf16(const float* x, bf16* y, int64 count) { scale(x, y, count, 1.0f); }

extern "C" __global__ void __launch_bounds__(256) cast_bf16_f32(const bf16* x, float* y, int64 count) { scale(x, y, count, 1.0f); }
