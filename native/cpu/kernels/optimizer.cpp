// The update: AdamW on flat arrays and the squared norm that clipping needs.
#include <math.h>

#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

// Fixed chunks, each summed in double by eight lanes, then added up in their order.
void squaredSum(const float* x, int64_t count, double share, double* out, bool accumulate) {
    constexpr int64_t CHUNK = 65536, GROUP = 1024;
    double total = 0;
    for (int64_t start = 0; start < count; start += CHUNK * GROUP) {
        double parts[GROUP];
        int64_t size = least(CHUNK * GROUP, count - start);
        parallelChunks(size, CHUNK, [&](int64_t begin, int64_t end) {
            double sums[8] = {};
            int64_t i = begin;
            for (; i + 8 <= end; i += 8) {
                for (int lane = 0; lane < 8; lane++) {
                    double value = x[start + i + lane];
                    sums[lane] += value * value;
                }
            }
            for (; i < end; i++) {
                double value = x[start + i];
                sums[0] += value * value;
            }
            parts[begin / CHUNK] = ((sums[0] + sums[1]) + (sums[2] + sums[3]))
                + ((sums[4] + sums[5]) + (sums[6] + sums[7]));
        });
        for (int64_t chunk = 0; chunk * CHUNK < size; chunk++) {
            total += parts[chunk];
        }
    }
    out[0] = share * total + (accumulate ? out[0] : 0);
}

// Decoupled decay first, then the step, as PyTorch orders them (arXiv:1711.05101, alg. 2).
void adamw(float* param, const float* grad, float* m, float* v, int64_t count, const float* scalars, float weightDecay) {
    float lr = scalars[0], beta1 = scalars[1], beta2 = scalars[2], eps = scalars[3], gradScale = scalars[4];
    float rate = lr * scalars[5], secondFactor = scalars[6], shrink = 1.f - lr * weightDecay;
    float rest1 = 1.f - beta1, rest2 = 1.f - beta2;
    parallelChunks(count, 16384, [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
        for (int64_t i = begin; i < end; i++) {
            float g = grad[i] * gradScale;
            float first = m[i] + rest1 * (g - m[i]);
            float second = beta2 * v[i] + rest2 * g * g;
            m[i] = first;
            v[i] = second;
            param[i] = param[i] * shrink - rate * first / (sqrtf(second * secondFactor) + eps);
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
