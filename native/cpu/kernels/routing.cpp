// Routing of tokens to experts: softmax over few logits, the k largest, slots in the experts' buffers, balance loss.
#include <math.h>

#include "kernels.h"
#include "parallel.h"
#include "products.h"

namespace brazier {
namespace BRAZIER_ISA {

INLINE float largestOf(const float* row, int64_t width) {
    float top = row[0];
    int64_t whole = width / LANES * LANES;
    if (whole > 0) {
        Vec tops = load(row);
        for (int64_t i = LANES; i < whole; i += LANES) {
            tops = larger(load(row + i), tops);
        }
        top = largest(tops);
    }
    for (int64_t i = whole; i < width; i++) {
        top = row[i] > top ? row[i] : top;
    }
    return top;
}

// exp(x - top) of up to LANES elements; 0 in the lanes past n, whatever exp gives there.
INLINE Vec exponentials(const float* x, float top, int64_t n) {
    Vec e = exponential(loadUpTo(x, n) - top);
    for (int64_t lane = n; lane < LANES; lane++) {
        e[lane] = 0;
    }
    return e;
}

// y = exp(x) / sum(exp(x)) by row; y may be x.
void softmax(const float* x, float* y, int64_t rows, int64_t width) {
    parallelFor(rows, 2 * rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = x + row * width;
        float* out = y + row * width;
        float top = largestOf(in, width);
        Vec total{};
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            Vec e = exponentials(in + i, top, n);
            total += e;
            storeUpTo(out + i, e, n);
        }
        float factor = 1 / sum(total);
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            storeUpTo(out + i, loadUpTo(out + i, n) * factor, n);
        }
    });
}

// dx = y (dy - sum(y dy)) with y = softmax(x), taken again; dx may be dy.
void softmaxGrad(const float* x, const float* dy, float* dx, int64_t rows, int64_t width) {
    parallelFor(rows, 3 * rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = x + row * width;
        const float* g = dy + row * width;
        float* out = dx + row * width;
        float top = largestOf(in, width);
        Vec total{}, weighted{};
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            Vec e = exponentials(in + i, top, n);
            total += e;
            weighted += e * loadUpTo(g + i, n);
        }
        float factor = 1 / sum(total);
        float mean = sum(weighted) * factor;
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            storeUpTo(out + i, exponentials(in + i, top, n) * factor * (loadUpTo(g + i, n) - mean), n);
        }
    });
}

INLINE bool contains(const int32_t* values, int64_t count, int64_t wanted) {
    for (int64_t i = 0; i < count; i++) {
        if (values[i] == wanted) {
            return true;
        }
    }
    return false;
}

// The k largest of each row p[width], largest first, the lower index first among equals. k rounds over the row: k and
// width are small, and a row with NaN still gets valid experts.
void topK(const float* p, float* gates, int32_t* experts, int64_t rows, int64_t width, int64_t k, bool renormalise) {
    parallelFor(rows, rows * width * k, [=](int64_t row) {
        const float* in = p + row * width;
        float* out = gates + row * k;
        int32_t* chosen = experts + row * k;
        float total = 0;
        for (int64_t j = 0; j < k; j++) {
            int64_t best = -1;
            for (int64_t e = 0; e < width; e++) {
                if ((best < 0 || in[e] > in[best]) && !contains(chosen, j, e)) {
                    best = e;
                }
            }
            chosen[j] = static_cast<int32_t>(best);
            out[j] = in[best];
            total += in[best];
        }
        for (int64_t j = 0; renormalise && j < k; j++) {
            out[j] /= total;
        }
    });
}

// dp of the chosen experts, 0 elsewhere: dgates, or (dgates - sum(dgates gates)) / total when gates are renormalised.
void topKGrad(const float* p, const int32_t* experts, const float* dgates, float* dp, int64_t rows, int64_t width,
    int64_t k, bool renormalise) {
    parallelFor(rows, rows * (width + 4 * k), [=](int64_t row) {
        const float* in = p + row * width;
        const float* g = dgates + row * k;
        const int32_t* chosen = experts + row * k;
        float* out = dp + row * width;
        float total = 0, weighted = 0;
        for (int64_t j = 0; j < k; j++) {
            total += in[chosen[j]];
            weighted += g[j] * in[chosen[j]];
        }
        std::memset(out, 0, width * sizeof(float));
        for (int64_t j = 0; j < k; j++) {
            out[chosen[j]] = renormalise ? (g[j] - weighted / total) / total : g[j];
        }
    });
}

// Places in the order of choices, then tokens. One thread: each place depends on all before it, and there are few.
void assignSlots(const int32_t* experts, int32_t* slots, float* counts, float* dropped, int64_t rows, int64_t k,
    int64_t numExperts, int64_t capacity) {
    std::memset(counts, 0, numExperts * sizeof(float));
    float lost = 0;
    for (int64_t j = 0; j < k; j++) {
        for (int64_t row = 0; row < rows; row++) {
            int64_t expert = experts[row * k + j];
            int64_t place = static_cast<int64_t>(counts[expert]);
            counts[expert] += 1;
            bool fits = place < capacity;
            slots[row * k + j] = fits ? static_cast<int32_t>(expert * capacity + place) : -1;
            lost += fits ? 0 : 1;
        }
    }
    *dropped = lost;
}

// loss[1] = scale sum over rows of p[row] . counts, summed in double by one thread: a row holds few experts.
void loadBalance(const float* p, const float* counts, float* loss, int64_t rows, int64_t width, float scale) {
    double total = 0;
    for (int64_t row = 0; row < rows; row++) {
        total += dot(p + row * width, counts, width);
    }
    *loss = static_cast<float>(scale * total);
}

// dp[row] = scale dloss counts.
void loadBalanceGrad(const float* counts, const float* dloss, float* dp, int64_t rows, int64_t width, float scale) {
    float factor = scale * dloss[0];
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            storeUpTo(dp + row * width + i, loadUpTo(counts + i, n) * factor, n);
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
