// Maps over flat arrays; every output may be one of its inputs.
//
//   add    y[i] = a[i] + b[i]     12 bytes and 1 FLOP an element in f32, 6 bytes in bf16
//   scale  y[i] = factor x[i]      8 bytes and 1 FLOP an element in f32, 4 bytes in bf16
//
// Bound on an H100: memory, 3.35 TB/s. Launch: 256 threads, each striding over 16-byte vectors; pointers are 16-byte aligned.
#include "brazier.cuh"

// y[i] = f(x[i], z[i]) for whole vectors, then for the rest.
template <typename T, typename F>
__device__ __forceinline__ void map(const T* x, const T* z, T* y, int64 count, F f) {
    int64 vectors = count / kVector<T>;
    for (int64 v = global_thread(); v < vectors; v += global_threads()) {
        float a[kVector<T>], b[kVector<T>];
        load_vector(x + v * kVector<T>, a);
        load_vector(z + v * kVector<T>, b);
        for (int e = 0; e < kVector<T>; e++) {
            a[e] = f(a[e], b[e]);
        }
        store_vector(y + v * kVector<T>, a);
    }
    for (int64 i = vectors * kVector<T> + global_thread(); i < count; i += global_threads()) {
        y[i] = from_float<T>(f(to_float(x[i]), to_float(z[i])));
    }
}

template <typename T>
__device__ __forceinline__ void add(const T* a, const T* b, T* y, int64 count) {
    map(a, b, y, count, [](float v, float w) { return v + w; });
}

extern "C" __global__ void __launch_bounds__(256) add_f32(const float* a, const float* b, float* y, int64 count) {
    add(a, b, y, count);
}

extern "C" __global__ void __launch_bounds__(256) add_bf16(const bf16* a, const bf16* b, bf16* y, int64 count) {
    add(a, b, y, count);
}
