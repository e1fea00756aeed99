// Routing of tokens to experts, all in f32 but the logits; a row of E probabilities is a token's.
//
//   softmax              y = exp(x) / sum(exp(x)), in place if one likes              8 bytes and 4 FLOPs an element
//   softmax_grad         dx = y (dy - sum(y dy)), y taken again; dx may be dy         12 bytes and 8 FLOPs
//   top_k                the k largest of a row, the lower index first among equals   4 bytes and k comparisons
//   top_k_grad           its gradient, for probabilities or for gates that sum to 1   8 bytes
//   assign_slots         places in experts' buffers, in order of choice, then token   4 E bytes a choice, from a cache
//   count_dropped        choices beyond the capacity                                  4 bytes an expert
//   balance_parts        parts of the sum of p counts[column]                         4 bytes and 2 FLOPs an element
//   balance_loss         scale times the sum of the parts                             one block
//   balance_grad         dp = scale dloss counts[column]                              4 bytes and 1 FLOP an element
//
// Bound on an H100: memory, 3.35 TB/s, at the sizes of models the launch. Launch: 256 threads; a warp takes a row of the first four,
// a block of 1,024 threads an expert of assign_slots; the grid of balance_parts follows from the shape alone.
#include "brazier.cuh"

// exp(x - top) / sum of a row, by its largest element and one sum.
template <typename T>
struct RowSoftmax {
    const T* x;
    float top, factor;

    __device__ __forceinline__ RowSoftmax(const T* row, int width) : x(row) {
        float largest = -infinity(), sum = 0.0f;
        for_each_column<1>(width, [&](int e) { largest = fmaxf(largest, to_float(row[e])); });
        top = warp_reduce(largest, Max());
        for_each_column<1>(width, [&](int e) { sum += expf(to_float(row[e]) - top); });
        factor = 1.0f / warp_reduce(sum, Sum());
    }

    __device__ __forceinline__ float operator[](int e) const { return expf(to_float(x[e]) - top) * factor; }
};

template <typename T>
__device__ __forceinline__ void softmax(const T* x, float* y, int64 rows, int width) {
    int64 row = warp_row();
    if (row < rows) {
        RowSoftmax<T> of(x + row * width, width);
        for_each_column<1>(width, [&](int e) { y[row * width + e] = of[e]; });
    }
}

template <typename T>
__device__ __forceinline__ void softmax_grad(const T* x, const float* dy, T* dx, int64 rows, int width) {
    int64 row = warp_row();
    if (row < rows) {
        RowSoftmax<T> y(x + row * width, width);
        const float* g = dy + row * width;
        float sum = 0.0f;
        for_each_column<1>(width, [&](int e) { sum = fmaf(y[e], g[e], sum); });
        sum = warp_reduce(sum, Sum());
        for_each_column<1>(width, [&](int e) { dx[row * width + e] = from_float<T>(y[e] * (g[e] - sum)); });
    }
}

// Larger for a larger probability, then for a lower index; smallest for what is not a number, so that k experts are always found.
__device__ __forceinline__ unsigned long long rank_of(float p, int e) {
    unsigned bits = __float_as_uint(p);
    unsigned order = (bits >> 31) != 0 ? ~bits : bits | 0x80000000u;
    order = p == p ? order : 0;
    return static_cast<unsigned long long>(order) << 32 | (0xffffffffu - static_cast<unsigned>(e));
}

__device__ __forceinline__ unsigned long long warp_largest(unsigned long long x) {
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
        unsigned long long other = __shfl_xor_sync(kAllLanes, x, distance);
        x = other > x ? other : x;
    }
    return x;
}

extern "C" __global__ void __launch_bounds__(256)
    top_k(const float* p, float* gates, int* experts, int64 rows, int width, int k, int renormalise) {
    int64 row = warp_row();
    if (row >= rows) {
        return;
    }
    p += row * width, gates += row * k, experts += row * k;
    unsigned long long last = ~0ull;
    float total = 0.0f;
    for (int j = 0; j < k; j++) {
        unsigned long long best = 0;
        for_each_column<1>(width, [&](int e) {
            unsigned long long rank = rank_of(p[e], e);
            best = rank < last && rank > best ? rank : best;
        });
        last = warp_largest(best);
        int expert = static_cast<int>(0xffffffffu - static_cast<unsigned>(last));
        total += p[expert];
        if (lane() == 0) {
            experts[j] = expert;
            gates[j] = p[expert];
        }
    }
    for (int j = 0; renormalise != 0 && lane() == 0 && j < k; j++) {
        gates[j] /= total;
    }
}

extern "C" __global__ void __launch_bounds__(256) top_k_grad(
    const float* p, const int* experts, const float* dgates, float* dp, int64 rows, int width, int k, int renormalise) {
    int64 row = warp_row();
    if (row >= rows) {
        return;
    }
    p += row * width, experts += row * k, dgates += row * k, dp += row * width;
    float total = 0.0f, weighted = 0.0f;
    for (int j = 0; j < k; j++) {
        total += p[experts[j]];
        weighted = fmaf(dgates[j], p[experts[j]], weighted);
    }
    for_each_column<1>(width, [&](int e) {
        float d = 0.0f;
        for (int j = 0; j < k; j++) {
            d = experts[j] != e ? d : renormalise != 0 ? (dgates[j] - weighted / total) / total : dgates[j];
        }
        dp[e] = d;
    });
}

// Block e goes through all choices, first choices of all tokens first, and gives those of expert e its slots in their order.
extern "C" __global__ void __launch_bounds__(1024)
    assign_slots(const int* experts, int* slots, float* counts, int tokens, int k, int capacity) {
    __shared__ int found[kWarpSize];
    int expert = static_cast<int>(blockIdx.x), choices = tokens * k, taken = 0;
    for (int from = 0; from < choices; from += 1024) {
        int choice = from + static_cast<int>(threadIdx.x);
        int at = choice % tokens * k + choice / tokens;
        bool mine = choice < choices && experts[at] == expert;
        unsigned lanes = __ballot_sync(kAllLanes, mine);
        __syncthreads();
        if (lane() == 0) {
            found[warp()] = __popc(lanes);
        }
        __syncthreads();
        int place = taken + __popc(lanes & ((1u << lane()) - 1));
        for (int w = 0; w < kWarpSize; w++) {
            place += w < warp() ? found[w] : 0;
            taken += found[w];
        }
        if (mine) {
            slots[at] = place < capacity ? expert * capacity + place : -1;
        }
    }
    if (threadIdx.x == 0) {
        counts[expert] = static_cast<float>(taken);
    }
}

extern "C" __global__ void __launch_bounds__(256)
    count_dropped(const float* counts, float* dropped, int experts, int capacity) {
    float sum = 0.0f;
    for (int e = static_cast<int>(threadIdx.x); e < experts; e += 256) {
        sum += fmaxf(counts[e] - static_cast<float>(capacity), 0.0f);
    }
    sum = block_reduce(sum, Sum());
    if (threadIdx.x == 0) {
        dropped[0] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    balance_parts(const float* p, const float* counts, float* parts, int64 rows, int width) {
    float sum = 0.0f;
    for_each_piece<1>(rows, width, [&](int64 row, int64 e) { sum = fmaf(p[row * width + e], counts[e], sum); });
    sum = block_reduce(sum, Sum());
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256) balance_loss(const float* parts, float* loss, int numParts, float scale) {
    float sum = 0.0f;
    for (int i = static_cast<int>(threadIdx.x); i < numParts; i += 256) {
        sum += parts[i];
    }
    sum = block_reduce(sum, Sum());
    if (threadIdx.x == 0) {
        loss[0] = scale * sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    balance_grad(const float* counts, const float* dloss, float* dp, int64 rows, int width, float scale) {
    float factor = scale * dloss[0];
    for_each_piece<1>(rows, width, [=](int64 row, int64 e) { dp[row * width + e] = factor * counts[e]; });
}

#define SOFTMAX(Type, T)                                                                                           \
    extern "C" __global__ void __launch_bounds__(256) softmax_##Type(const T* x, float* y, int64 rows, int width) { \
        softmax(x, y, rows, width);                                                                                \
    }                                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) softmax_grad_##Type(                                         \
        const T* x, const float* dy, T* dx, int64 rows, int width) {                                               \
        softmax_grad(x, dy, dx, rows, width);                                                                      \
    }

SOFTMAX(f32, float)
SOFTMAX(bf16, bf16)
