// Moves of token rows [rows, width] to the slots of the experts' buffers [slots, width] and back, in f32 or bf16. slots [rows, k]: the
// slot of each choice, negative where it was dropped; gates f32 [rows, k], or none for 1.
//
//   own_slots    owners[slots[choice]] = choice + 1, where owners were 0                                      8 bytes a choice
//   dispatch     buffer[slot] = gate x[token of its choice], 0 in empty slots                                4 bytes, 1 FLOP
//   combine      y[row] = sum over choices of gate buffer[slot], in their order; none for dropped ones      2 (k + 1) bytes, 2 k FLOPs
//   gates_grad   dgates[choice] = x[row] . buffer[slot], 0 where dropped                                     2 (k + 1) bytes, 2 k FLOPs
//
// Bytes and FLOPs are those of an element of the buffer for dispatch, of a token for the others, in bf16; f32 takes twice the bytes.
// Bound on an H100: memory, 3.35 TB/s. Launch: 256 threads; a warp takes a slot of dispatch, a row of the others; own_slots strides.
#include "brazier.cuh"

extern "C" __global__ void __launch_bounds__(256) own_slots(const int* slots, int* owners, int choices) {
    for (int64 choice = global_thread(); choice < choices; choice += global_threads()) {
        if (slots[choice] >= 0) {
            owners[slots[choice]] = static_cast<int>(choice) + 1;
        }
    }
}

template <typename T>
__device__ __forceinline__ void dispatch(
    const T* x, const int* owners, const float* gates, T* buffer, int64 slots, int k, int width) {
    int64 slot = warp_row();
    if (slot >= slots) {
        return;
    }
    int choice = owners[slot] - 1;
    float gate = choice < 0 ? 0.0f : gates == nullptr ? 1.0f : gates[choice];
    const T* from = x + static_cast<int64>(choice < 0 ? 0 : choice / k) * width;
    T* to = buffer + slot * width;
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_column<V>(width, [=](int column) {
            float v[V] = {};
            if (choice >= 0) {
                load_elements<V>(from + column, v);
            }
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] *= gate;
            }
            store_elements<V>(to + column, v);
        });
    });
}

template <typename T>
__device__ __forceinline__ void combine(
    const T* buffer, const int* slots, const float* gates, T* y, int64 rows, int k, int width) {
    int64 row = warp_row();
    if (row >= rows) {
        return;
    }
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_column<V>(width, [=](int column) {
            float sums[V] = {};
            for (int64 choice = row * k; choice < (row + 1) * k; choice++) {
                if (slots[choice] >= 0) {
                    float v[V], gate = gates == nullptr ? 1.0f : gates[choice];
                    load_elements<V>(buffer + static_cast<int64>(slots[choice]) * width + column, v);
#pragma unroll
                    for (int e = 0; e < V; e++) {
                        sums[e] = fmaf(v[e], gate, sums[e]);
                    }
                }
            }
            store_elements<V>(y + row * width + column, sums);
        });
    });
}

template <typename T>
__device__ __forceinline__ void gates_grad(
    const T* x, const T* buffer, const int* slots, float* dgates, int64 rows, int k, int width) {
    int64 row = warp_row();
    if (row >= rows) {
        return;
    }
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for (int64 choice = row * k; choice < (row + 1) * k; choice++) {
            int slot = slots[choice];
            float sum = 0.0f;
            for_each_column<V>(slot < 0 ? 0 : width, [&](int column) {
                float v[V], w[V];
                load_elements<V>(x + row * width + column, v);
                load_elements<V>(buffer + static_cast<int64>(slot) * width + column, w);
#pragma unroll
                for (int e = 0; e < V; e++) {
                    sum = fmaf(v[e], w[e], sum);
                }
            });
            sum = warp_reduce(sum, Sum());
            if (lane() == 0) {
                dgates[choice] = sum;
            }
        }
    });
}

#define EXPERTS(Type, T)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) dispatch_##Type(                                                       \
        const T* x, const int* owners, const float* gates, T* buffer, int64 slots, int k, int width) {                       \
        dispatch(x, owners, gates, buffer, slots, k, width);                                                                 \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) combine_##Type(                                                        \
        const T* buffer, const int* slots, const float* gates, T* y, int64 rows, int k, int width) {                         \
        combine(buffer, slots, gates, y, rows, k, width);                                                                    \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) gates_grad_##Type(                                                     \
        const T* x, const T* buffer, const int* slots, float* dgates, int64 rows, int k, int width) {                        \
        gates_grad(x, buffer, slots, dgates, rows, k, width);                                                                \
    }

EXPERTS(f32, float)
EXPERTS(bf16, bf16)
