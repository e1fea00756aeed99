// Keys and values of new tokens go to the end of a cache: row b writes token t at position starts[b] + t of cacheK and cacheV
// [B, G, capacity, K]; qkv is [B, T, (H + 2 G) K].
//
// Bytes: 8 G K a token in bf16. Bound on an H100: memory, and the launch. Launch: (T, B) blocks of 256 threads.
#include "brazier.cuh"

template <typename T>
__device__ __forceinline__ void append(
    const T* qkv, const int* starts, T* cacheK, T* cacheV, int heads, int groups, int width, int capacity) {
    int64 row = static_cast<int64>(blockIdx.y) * gridDim.x + blockIdx.x;
    const T* k = qkv + (row * (heads + 2 * groups) + heads) * width;
    int64 at = static_cast<int64>(blockIdx.y) * groups * capacity + starts[blockIdx.y] + blockIdx.x;
    for (int x = static_cast<int>(threadIdx.x); x < groups * width; x += static_cast<int>(blockDim.x)) {
        int64 to = (at + static_cast<int64>(x / width) * capacity) * width + x % width;
        cacheK[to] = k[x];
        cacheV[to] = k[groups * width + x];
    }
}

extern "C" __global__ void __launch_bounds__(256) append_f32(const float* qkv, const int* starts, float* cacheK, float* cacheV,
    int heads, int groups, int width, int capacity) {
    append(qkv, starts, cacheK, cacheV, heads, groups, width, capacity);
}

extern "C" __global__ void __launch_bounds__(256) append_bf16(const bf16* qkv, const int* starts, bf16* cacheK, bf16* cacheV,
    int heads, int groups, int width, int capacity) {
    append(qkv, starts, cacheK, cacheV, heads, groups, width, capacity);
}
