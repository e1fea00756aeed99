// Layer norm and root-mean-square norm over the last dim, column sums. Sums over a row are taken by vector lanes, sums over rows in their order:
// neither depends on the number of threads.
#include <math.h>

#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

// Sum over a row of f(x), f returning 0 for the zeros that fill the last vector.
template <class F>
INLINE float sumRow(int64_t width, F f) {
    Vec sums[4] = {};
    int64_t x = 0;
    for (; x + 4 * LANES <= width; x += 4 * LANES) {
        for (int part = 0; part < 4; part++) {
            sums[part] += f(x + part * LANES, LANES);
        }
    }
    for (; x + LANES <= width; x += LANES) {
        sums[0] += f(x, LANES);
    }
    if (x < width) {
        sums[1] += f(x, width - x);
    }
    return sum((sums[0] + sums[1]) + (sums[2] + sums[3]));
}

// mean and rstd = 1 / sqrt(variance + eps) of each row; y = (x - mean) rstd gamma + beta.
void layerNorm(const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, int64_t rows,
    int64_t width, float eps) {
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = x + row * width;
        float* out = y + row * width;
        float m = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            return loadUpTo(in + i, n);
        }) / width;
        float squares = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            Vec d = loadUpTo(in + i, n) - m;
            if (n < LANES) {
                Vec kept{};
                std::memcpy(&kept, &d, n * sizeof(float));
                d = kept;
            }
            return d * d;
        });
        float r = 1.f / sqrtf(squares / width + eps);
        mean[row] = m;
        rstd[row] = r;
        vectorLoop(
            0, width,
            [=](int64_t i) __attribute__((always_inline)) {
                store(out + i, (load(in + i) - m) * r * load(gamma + i) + load(beta + i));
            },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                Vec v = (loadPartial(in + i, n) - m) * r * loadPartial(gamma + i, n) + loadPartial(beta + i, n);
                storePartial(out + i, v, n);
            });
    });
}

// With g = dy gamma and xhat = (x - mean) rstd: dx = rstd (g - mean(g) - xhat mean(g xhat)) + addend.
void layerNormGradInput(const float* x, const float* dy, const float* gamma, const float* mean, const float* rstd,
    const float* addend, float* dx, int64_t rows, int64_t width) {
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float *in = x + row * width, *grad = dy + row * width;
        const float* plus = addend == nullptr ? nullptr : addend + row * width;
        float* out = dx + row * width;
        float m = mean[row], r = rstd[row];
        float meanG = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            return loadUpTo(grad + i, n) * loadUpTo(gamma + i, n);
        }) / width;
        float meanGX = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            return loadUpTo(grad + i, n) * loadUpTo(gamma + i, n) * ((loadUpTo(in + i, n) - m) * r);
        }) / width;
        auto at = [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            Vec g = loadUpTo(grad + i, n) * loadUpTo(gamma + i, n);
            Vec v = (g - meanG - (loadUpTo(in + i, n) - m) * (r * meanGX)) * r;
            return plus == nullptr ? v : v + loadUpTo(plus + i, n);
        };
        vectorLoop(
            0, width, [=](int64_t i) __attribute__((always_inline)) { store(out + i, at(i, LANES)); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) { storePartial(out + i, at(i, n), n); });
    });
}

// rstd = 1 / sqrt(mean(x^2) + eps) of each row; y = x rstd gamma.
void rmsNorm(const float* x, const float* gamma, float* y, float* rstd, int64_t rows, int64_t width, float eps) {
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = x + row * width;
        float* out = y + row * width;
        float squares = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            Vec v = loadUpTo(in + i, n);
            return v * v;
        });
        float r = 1.f / sqrtf(squares / width + eps);
        rstd[row] = r;
        auto at = [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            return loadUpTo(in + i, n) * r * loadUpTo(gamma + i, n);
        };
        vectorLoop(
            0, width, [=](int64_t i) __attribute__((always_inline)) { store(out + i, at(i, LANES)); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) { storePartial(out + i, at(i, n), n); });
    });
}

// With g = dy gamma: dx = rstd (g - x rstd^2 mean(g x)) + addend.
void rmsNormGradInput(const float* x, const float* dy, const float* gamma, const float* rstd, const float* addend,
    float* dx, int64_t rows, int64_t width) {
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float *in = x + row * width, *grad = dy + row * width;
        const float* plus = addend == nullptr ? nullptr : addend + row * width;
        float* out = dx + row * width;
        float r = rstd[row];
        float meanGX = sumRow(width, [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            return loadUpTo(grad + i, n) * loadUpTo(gamma + i, n) * (loadUpTo(in + i, n) * r);
        }) / width;
        auto at = [=](int64_t i, int64_t n) __attribute__((always_inline)) {
            Vec v = (loadUpTo(grad + i, n) * loadUpTo(gamma + i, n) - loadUpTo(in + i, n) * (r * meanGX)) * r;
            return plus == nullptr ? v : v + loadUpTo(plus + i, n);
        };
        vectorLoop(
            0, width, [=](int64_t i) __attribute__((always_inline)) { store(out + i, at(i, LANES)); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) { storePartial(out + i, at(i, n), n); });
    });
}

// Columns are split into blocks that one thread sums from the first row to the last.
constexpr int64_t BLOCK = 2 * LANES;

void layerNormGradParameters(const float* x, const float* dy, const float* mean, const float* rstd,
    const float* addendGamma, const float* addendBeta, float* dgamma, float* dbeta, int64_t rows, int64_t width) {
    parallelFor((width + BLOCK - 1) / BLOCK, rows * width, [=](int64_t block) __attribute__((always_inline)) {
        int64_t from = block * BLOCK, n = least(BLOCK, width - from);
        float gammas[BLOCK] = {}, betas[BLOCK] = {};
        auto rowSum = [&](int64_t size) __attribute__((always_inline)) {
            for (int64_t row = 0; row < rows; row++) {
                const float *in = x + row * width + from, *grad = dy + row * width + from;
                float m = mean[row], r = rstd[row];
                for (int64_t i = 0; i < size; i++) {
                    gammas[i] += grad[i] * ((in[i] - m) * r);
                    betas[i] += grad[i];
                }
            }
        };
        if (n == BLOCK) {
            rowSum(BLOCK);
        } else {
            rowSum(n);
        }
        for (int64_t i = 0; i < n; i++) {
            dgamma[from + i] = gammas[i] + (addendGamma == nullptr ? 0.f : addendGamma[from + i]);
            dbeta[from + i] = betas[i] + (addendBeta == nullptr ? 0.f : addendBeta[from + i]);
        }
    });
}

// dgamma = sum over rows of dy x rstd + addend.
void rmsNormGradParameters(const float* x, const float* dy, const float* rstd, const float* addend, float* dgamma,
    int64_t rows, int64_t width) {
    parallelFor((width + BLOCK - 1) / BLOCK, rows * width, [=](int64_t block) __attribute__((always_inline)) {
        int64_t from = block * BLOCK, n = least(BLOCK, width - from);
        float gammas[BLOCK] = {};
        auto rowSum = [&](int64_t size) __attribute__((always_inline)) {
            for (int64_t row = 0; row < rows; row++) {
                const float *in = x + row * width + from, *grad = dy + row * width + from;
                float r = rstd[row];
                for (int64_t i = 0; i < size; i++) {
                    gammas[i] += grad[i] * (in[i] * r);
                }
            }
        };
        if (n == BLOCK) {
            rowSum(BLOCK);
        } else {
            rowSum(n);
        }
        for (int64_t i = 0; i < n; i++) {
            dgamma[from + i] = gammas[i] + (addend == nullptr ? 0.f : addend[from + i]);
        }
    });
}

void sumRows(const float* x, const float* addend, float* y, int64_t rows, int64_t width) {
    constexpr int64_t WIDE = 4 * LANES;
    parallelFor((width + WIDE - 1) / WIDE, rows * width, [=](int64_t block) __attribute__((always_inline)) {
        int64_t from = block * WIDE, n = least(WIDE, width - from);
        float sums[WIDE] = {};
        if (n == WIDE) {
            Vec parts[4] = {};
            for (int64_t row = 0; row < rows; row++) {
                for (int part = 0; part < 4; part++) {
                    parts[part] += load(x + row * width + from + part * LANES);
                }
            }
            std::memcpy(sums, parts, sizeof sums);
        } else {
            for (int64_t row = 0; row < rows; row++) {
                for (int64_t i = 0; i < n; i++) {
                    sums[i] += x[row * width + from + i];
                }
            }
        }
        for (int64_t i = 0; i < n; i++) {
            y[from + i] = sums[i] + (addend == nullptr ? 0.f : addend[from + i]);
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
