// The update of flat f32 arrays, and the squared norm that clipping needs.
//
//   squared_parts   a part of the sum of x^2 for each block                                     4 bytes and 2 FLOPs an element
//   squared_sum     out f64 = share * sum of the parts (+ out)                                  one block
//   adamw           p, m, v in place (arXiv:1711.05101, alg. 2), decay first as PyTorch orders  28 bytes and 14 FLOPs an element
//
// Bound on an H100: memory, 3.35 TB/s. Launch: 256 threads, each striding over 16-byte vectors; pointers are 16-byte aligned. The
// grid of squared_parts follows from the count alone, so that sums are the same on every device.
#include "brazier.cuh"

extern "C" __global__ void __launch_bounds__(256) squared_parts(const float* x, int64 count, float* parts) {
    int64 vectors = count / 4;
    float sums[4] = {};
    for (int64 v = global_thread(); v < vectors; v += global_threads()) {
        float a[4];
        load_vector(x + 4 * v, a);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            sums[e] = fmaf(a[e], a[e], sums[e]);
        }
    }
    for (int64 i = 4 * vectors + global_thread(); i < count; i += global_threads()) {
        sums[0] = fmaf(x[i], x[i], sums[0]);
    }
    float sum = block_reduce((sums[0] + sums[1]) + (sums[2] + sums[3]), Sum());
    if (threadIdx.x == 0) {
        parts[blockIdx.x] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256)
    squared_sum(const float* parts, int numParts, double share, double* out, int accumulate) {
    __shared__ double sums[256];
    int x = static_cast<int>(threadIdx.x);
    double sum = 0;
    for (int i = x; i < numParts; i += 256) {
        sum += parts[i];
    }
    sums[x] = sum;
    for (int half = 128; half > 0; half /= 2) {
        __syncthreads();
        if (x < half) {
            sums[x] += sums[x + half];
        }
    }
    if (x == 0) {
        out[0] = share * sums[0] + (accumulate != 0 ? out[0] : 0);
    }
}

struct AdamW {
    float beta1, beta2, epsilon, gradientScale, rate, secondFactor, shrink;

    // scalars {lr, beta1, beta2, epsilon, gradientScale, c1, c2}.
    __device__ __forceinline__ AdamW(const float* scalars, float weightDecay)
        : beta1(scalars[1]),
          beta2(scalars[2]),
          epsilon(scalars[3]),
          gradientScale(scalars[4]),
          rate(scalars[0] * scalars[5]),
          secondFactor(scalars[6]),
          shrink(1.0f - scalars[0] * weightDecay) {}

    __device__ __forceinline__ void update(float& p, float gradient, float& m, float& v) const {
        float g = gradient * gradientScale;
        m += (1.0f - beta1) * (g - m);
        v = beta2 * v + (1.0f - beta2) * g * g;
        p = p * shrink - rate * m / (sqrtf(v * secondFactor) + epsilon);
    }
};

extern "C" __global__ void __launch_bounds__(256)
    adamw(float* p, const float* gradient, float* m, float* v, int64 count, const float* scalars, float weightDecay) {
    AdamW step(scalars, weightDecay);
    int64 vectors = count / 4;
    for (int64 i = 4 * global_thread(); i < 4 * vectors; i += 4 * global_threads()) {
        float a[4], g[4], first[4], second[4];
        load_vector(p + i, a);
        load_vector(gradient + i, g);
        load_vector(m + i, first);
        load_vector(v + i, second);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            step.update(a[e], g[e], first[e], second[e]);
        }
        store_vector(p + i, a);
        store_vector(m + i, first);
        store_vector(v + i, second);
    }
    for (int64 i = 4 * vectors + global_thread(); i < count; i += global_threads()) {
        step.update(p[i], gradient[i], m[i], v[i]);
    }
}
