// Cross-entropy over rows of logits [rows, width] in f32 or bf16; probabilities are never stored. Where the vocabulary is split, the
// logits are those of ids from firstId on and statistics [shards, rows] are the log-sum-exp of every shard. A target of -1 takes no
// loss, a target of another shard neither.
//
//   row_log_sum_exp      lse = log(sum(exp(row))), and logit[target] - lse where targets are given; one pass      2 bytes, 4 FLOPs
//   cross_entropy_grad   dlogits = (exp(logit - lse) - onehot(target)) scale dloss, in place if one likes        4 bytes, 4 FLOPs
//   combine_shards       lse of whole rows from statistics                                          4 bytes an element of those
//   shard_likelihood     logit[target] - lse, 0 where the target is another shard's                              16 bytes a row
//   cross_entropy_loss   scale sum over rows of lse - logit[target]                                              12 bytes a row
//
// Bytes and FLOPs are those of a logit in bf16 unless said; f32 takes twice the bytes. Bound on an H100: memory, 3.35 TB/s. Launch: a
// block of 256 threads a row for the first two, whatever its alignment; 256 threads for a row each for the next two; one block of
// 1,024 for the loss, so that its sum does not depend on the device.
#include "brazier.cuh"

// f(V, i) for the elements before the first 16-byte boundary of a row, then for whole vectors, then for the rest.
template <typename T, typename F>
__device__ __forceinline__ void for_each_in_row(const T* row, int width, F f) {
    constexpr int V = kVector<T>;
    int x = static_cast<int>(threadIdx.x), threads = static_cast<int>(blockDim.x);
    int before = static_cast<int>((16 - reinterpret_cast<unsigned long long>(row) % 16) % 16 / sizeof(T));
    before = before < width ? before : width;
    int end = before + (width - before) / V * V;
    if (x < before) {
        f(Constant<1>{}, x);
    }
    for (int i = before + x * V; i < end; i += threads * V) {
        f(Constant<V>{}, i);
    }
    for (int i = end + x; i < width; i += threads) {
        f(Constant<1>{}, i);
    }
}

// The lowest finite number: its difference to itself is 0, where that of -infinity is none.
constexpr float kLowest = -3.402823466e38f;

// sum(exp(x - top)) of what was seen so far.
struct Softmax {
    float top = kLowest, sum = 0.0f;

    template <int V>
    __device__ __forceinline__ void add(const float (&x)[V]) {
        float higher = top;
#pragma unroll
        for (int e = 0; e < V; e++) {
            higher = fmaxf(higher, x[e]);
        }
        sum *= __expf(top - higher);
        top = higher;
#pragma unroll
        for (int e = 0; e < V; e++) {
            sum += __expf(x[e] - top);
        }
    }
};

template <typename T>
__device__ __forceinline__ void row_log_sum_exp(const T* logits, const int* targets, float* out, int width) {
    int64 row = blockIdx.x;
    logits += row * width;
    Softmax mine;
    for_each_in_row(logits, width, [&](auto size, int i) {
        constexpr int V = decltype(size)::value;
        float x[V];
        load_elements<V>(logits + i, x);
        mine.add(x);
    });
    float top = block_reduce(mine.top, Max());
    float sum = block_reduce(mine.sum * __expf(mine.top - top), Sum());
    if (threadIdx.x == 0) {
        float lse = top + logf(sum);
        if (targets == nullptr) {
            out[row] = lse;
        } else {
            out[row] = targets[row] < 0 ? 0.0f : to_float(logits[targets[row]]) - lse;
        }
    }
}

template <typename T>
__device__ __forceinline__ void cross_entropy_grad(const T* logits, const float* lse, const int* targets, const float* dloss,
    T* dlogits, int width, int64 firstId, float scale) {
    int64 row = blockIdx.x;
    bool counts = targets[row] >= 0;
    int64 hit = targets[row] - firstId;
    float denominator = lse[row], factor = scale * dloss[0];
    logits += row * width, dlogits += row * width;
    for_each_in_row(logits, width, [=](auto size, int i) {
        constexpr int V = decltype(size)::value;
        float x[V];
        load_elements<V>(logits + i, x);
#pragma unroll
        for (int e = 0; e < V; e++) {
            x[e] = counts ? (__expf(x[e] - denominator) - (i + e == hit ? 1.0f : 0.0f)) * factor : 0.0f;
        }
        store_elements<V>(dlogits + i, x);
    });
}

__device__ __forceinline__ float combined(const float* statistics, int64 rows, int shards, int64 row) {
    Softmax all;
    for (int shard = 0; shard < shards; shard++) {
        float x[1] = {statistics[shard * rows + row]};
        all.add(x);
    }
    return all.top + logf(all.sum);
}

extern "C" __global__ void __launch_bounds__(256) combine_shards(const float* statistics, float* lse, int64 rows, int shards) {
    int64 row = global_thread();
    if (row < rows) {
        lse[row] = combined(statistics, rows, shards, row);
    }
}

template <typename T>
__device__ __forceinline__ void shard_likelihood(
    const T* logits, const float* statistics, const int* targets, float* out, int64 rows, int width, int shards, int64 firstId) {
    int64 row = global_thread();
    if (row < rows) {
        int64 id = targets[row] - firstId;
        bool held = id >= 0 && id < width;
        out[row] = held ? to_float(logits[row * width + id]) - combined(statistics, rows, shards, row) : 0.0f;
    }
}

template <typename T>
__device__ __forceinline__ void cross_entropy_loss(
    const T* logits, const float* lse, const int* targets, float* loss, int64 rows, int width, int64 firstId, float scale) {
    float sum = 0.0f;
    for (int64 row = threadIdx.x; row < rows; row += blockDim.x) {
        int64 id = targets[row] - firstId;
        if (targets[row] >= 0 && id >= 0 && id < width) {
            sum += lse[row] - to_float(logits[row * width + id]);
        }
    }
    sum = block_reduce(sum, Sum());
    if (threadIdx.x == 0) {
        loss[0] = scale * sum;
    }
}

#define LOSSES(Type, T)                                                                                                      \
    extern "C" __global__ void __launch_bounds__(256) row_log_sum_exp_##Type(                                                \
        const T* logits, const int* targets, float* out, int width) {                                                        \
        row_log_sum_exp(logits, targets, out, width);                                                                        \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) cross_entropy_grad_##Type(const T* logits, const float* lse,           \
        const int* targets, const float* dloss, T* dlogits, int width, int64 firstId, float scale) {                         \
        cross_entropy_grad(logits, lse, targets, dloss, dlogits, width, firstId, scale);                                     \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) shard_likelihood_##Type(const T* logits, const float* statistics,      \
        const int* targets, float* out, int64 rows, int width, int shards, int64 firstId) {                                  \
        shard_likelihood(logits, statistics, targets, out, rows, width, shards, firstId);                                    \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(1024) cross_entropy_loss_##Type(const T* logits, const float* lse,          \
        const int* targets, float* loss, int64 rows, int width, int64 firstId, float scale) {                                \
        cross_entropy_loss(logits, lse, targets, loss, rows, width, firstId, scale);                                         \
    }

LOSSES(f32, float)
LOSSES(bf16, bf16)
