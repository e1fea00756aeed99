// Strips of attention scores: ROWS queries by as many keys as they see.
#pragma once

#include <math.h>

#include "tile.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr int64_t ROWS = 4 * TILE_ROWS;

// Distance of the rows of scores over `keys` keys.
INLINE int64_t scoreStride(int64_t keys) {
    return roundUp(keys, TILE_VECTORS * LANES);
}

// scores[0..valid) -> exp(scale scores - top), zeros up to `padded`; returns the sum, and top through the pointer.
INLINE float softmaxRow(float* scores, int64_t valid, int64_t padded, float scale, float* top) {
    for (int64_t i = valid; i < roundUp(valid, LANES); i++) {
        scores[i] = -INFINITY;
    }
    Vec tops = splat(-INFINITY);
    for (int64_t i = 0; i < valid; i += LANES) {
        tops = larger(load(scores + i), tops);
    }
    float highest = largest(tops) * scale;
    Vec sums{};
    int64_t i = 0;
    for (; i < valid; i += LANES) {
        Vec p = exponential(load(scores + i) * scale - highest);
        store(scores + i, p);
        sums += p;
    }
    for (; i < padded; i += LANES) {
        store(scores + i, Vec{});
    }
    *top = highest;
    return sum(sums);
}

INLINE void scaleRow(float* p, int64_t count, float factor) {
    for (int64_t i = 0; i < count; i++) {
        p[i] *= factor;
    }
}

// p: scores -> exp(scale scores - lse); dp: dO v^T -> dS = p (dp - delta) scale; both 0 after `valid`.
INLINE void gradientRow(float* p, float* dp, int64_t valid, int64_t padded, float scale, float lse, float delta) {
    for (int64_t i = valid; i < roundUp(valid, LANES); i++) {
        p[i] = -INFINITY;
        dp[i] = 0;
    }
    int64_t i = 0;
    for (; i < valid; i += LANES) {
        Vec probability = exponential(load(p + i) * scale - lse);
        store(p + i, probability);
        store(dp + i, probability * (load(dp + i) - delta) * scale);
    }
    for (; i < padded; i += LANES) {
        store(p + i, Vec{});
        store(dp + i, Vec{});
    }
}

INLINE float dot(const float* a, const float* b, int64_t count) {
    Vec sums{};
    int64_t i = 0;
    for (; i + LANES <= count; i += LANES) {
        sums += load(a + i) * load(b + i);
    }
    if (i < count) {
        sums += loadPartial(a + i, count - i) * loadPartial(b + i, count - i);
    }
    return sum(sums);
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
