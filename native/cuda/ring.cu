// What goes round a ring of ranks besides attention itself (arXiv:2310.01889); a row is a token.
//
//   pack_key_values   kv [rows, width] = the last `width` of the rowWidth columns of qkv
//                     4 bytes an element in bf16
//   join_gradients    dqkv += (dq, dkv), in place; dqkv f32 or bf16, the sums dq and dkv f32
//                     8 bytes and 1 FLOP an element in bf16
//
// Bound on an H100: memory, 3.35 TB/s. Launch: a block of 256 threads a row, 16-byte accesses where widths are whole vectors.
#include "brazier.cuh"

template <typename T>
__device__ __forceinline__ void pack_key_values(const T* qkv, T* kv, int rowWidth, int width) {
    const T* from = qkv + static_cast<int64>(blockIdx.x) * rowWidth + (rowWidth - width);
    T* to = kv + static_cast<int64>(blockIdx.x) * width;
    if (width % kVector<T> == 0 && rowWidth % kVector<T> == 0) {
        for (int x = static_cast<int>(threadIdx.x); x < width / kVector<T>; x += static_cast<int>(blockDim.x)) {
            reinterpret_cast<uint4*>(to)[x] = reinterpret_cast<const uint4*>(from)[x];
        }
    } else {
        for (int x = static_cast<int>(threadIdx.x); x < width; x += static_cast<int>(blockDim.x)) {
            to[x] = from[x];
        }
    }
}

// row[0, width) += sum, for one part of a row of dqkv.
template <typename T>
__device__ __forceinline__ void add_row(T* row, const float* sum, int width, bool aligned) {
    if (aligned) {
        for (int x = static_cast<int>(threadIdx.x) * kVector<T>; x < width; x += static_cast<int>(blockDim.x) * kVector<T>) {
            float to[kVector<T>], from[4];
            load_vector(row + x, to);
            for (int v = 0; v < kVector<T>; v += 4) {
                load_vector(sum + x + v, from);
                for (int e = 0; e < 4; e++) {
                    to[v + e] += from[e];
                }
            }
            store_vector(row + x, to);
        }
    } else {
        for (int x = static_cast<int>(threadIdx.x); x < width; x += static_cast<int>(blockDim.x)) {
            row[x] = from_float<T>(to_float(row[x]) + sum[x]);
        }
    }
}

template <typename T>
__device__ __forceinline__ void join_gradients(T* dqkv, const float* dq, const float* dkv, int queryWidth, int keyWidth) {
    int64 token = blockIdx.x;
    T* row = dqkv + token * (queryWidth + keyWidth);
    bool aligned = queryWidth % kVector<T> == 0 && keyWidth % kVector<T> == 0;
    add_row(row, dq + token * queryWidth, queryWidth, aligned);
    add_row(row + queryWidth, dkv + token * keyWidth, keyWidth, aligned);
}

extern "C" __global__ void __launch_bounds__(256) pack_key_values_f32(const float* qkv, float* kv, int rowWidth, int width) {
    pack_key_values(qkv, kv, rowWidth, width);
}

extern "C" __global__ void __launch_bounds__(256) pack_key_values_bf16(const bf16* qkv, bf16* kv, int rowWidth, int width) {
    pack_key_values(qkv, kv, rowWidth, width);
}

extern "C" __global__ void __launch_bounds__(256)
    join_gradients_f32(float* dqkv, const float* dq, const float* dkv, int queryWidth, int keyWidth) {
    join_gradients(dqkv, dq, dkv, queryWidth, keyWidth);
}

extern "C" __global__ void __launch_bounds__(256)
    join_gradients_bf16(bf16* dqkv, const float* dq, const float* dkv, int queryWidth, int keyWidth) {
    join_gradients(dqkv, dq, dkv, queryWidth, keyWidth);
}
