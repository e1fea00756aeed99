// Attention of new tokens over the keys and values that earlier calls left in a cache.
#include <math.h>

#include "kernels.h"
#include "parallel.h"
#include "tile.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr int64_t KEYS = 64;
constexpr int64_t QUERIES = 4 * TILE_ROWS;
constexpr int64_t DEPTH = 128;

// scores[queries, KEYS] = q k^T for `keys` <= KEYS cached keys, through a transposed copy in pieces of DEPTH.
static void scoreBlock(const float* q, int64_t qStride, int64_t queries, const float* k, int64_t keys, int64_t width,
    float scores[QUERIES][KEYS]) {
    alignas(64) float transposed[DEPTH * KEYS];
    int64_t padded = roundUp(keys, LANES);
    for (int64_t d = 0; d < width; d += DEPTH) {
        int64_t depth = least(DEPTH, width - d);
        transpose(k + d, width, keys, depth, transposed, KEYS, padded);
        multiply(queries, padded, depth, {q + d, qStride, 1}, transposed, KEYS, scores[0], KEYS, d > 0);
    }
}

static void scoreOne(const float* q, const float* k, int64_t keys, int64_t width, float* scores) {
    for (int64_t j = 0; j < keys; j++) {
        Vec sums{};
        int64_t i = 0;
        for (; i + LANES <= width; i += LANES) {
            sums += load(q + i) * load(k + j * width + i);
        }
        if (i < width) {
            sums += loadPartial(q + i, width - i) * loadPartial(k + j * width + i, width - i);
        }
        scores[j] = sum(sums);
    }
}

// Turns one row of scores into weights relative to the new running maximum and rescales what was summed before.
INLINE void onlineSoftmax(
    float* scores, int64_t valid, int64_t keys, float scale, float* out, int64_t width, float* top, float* total) {
    float highest = *top;
    for (int64_t j = 0; j < valid; j++) {
        scores[j] *= scale;
        highest = scores[j] > highest ? scores[j] : highest;
    }
    for (int64_t j = valid; j < roundUp(keys, LANES); j++) {
        scores[j] = -INFINITY;
    }
    float shrink = *top == -INFINITY ? 0.f : expf(*top - highest);
    Vec sums{};
    for (int64_t j = 0; j < keys; j += LANES) {
        Vec weights = exponential(load(scores + j) - highest);
        store(scores + j, weights);
        sums += weights;
    }
    *total = *total * shrink + sum(sums);
    *top = highest;
    if (shrink != 1.f) {
        for (int64_t i = 0; i < width; i++) {
            out[i] *= shrink;
        }
    }
}

// Queries of one head; query x stands at position first + x.
static void attend(const float* q, int64_t qStride, int64_t queries, int64_t first, const float* k, const float* v,
    int64_t width, float* out, int64_t outStride, float scale) {
    float top[QUERIES], total[QUERIES];
    alignas(64) float scores[QUERIES][KEYS];
    for (int64_t x = 0; x < queries; x++) {
        top[x] = -INFINITY;
        total[x] = 0;
        std::memset(out + x * outStride, 0, width * sizeof(float));
    }
    for (int64_t from = 0; from < first + queries; from += KEYS) {
        int64_t keys = least(KEYS, first + queries - from);
        if (queries == 1) {
            scoreOne(q, k + from * width, keys, width, scores[0]);
        } else {
            scoreBlock(q, qStride, queries, k + from * width, keys, width, scores);
        }
        for (int64_t x = 0; x < queries; x++) {
            int64_t valid = most(0, least(keys, first + x + 1 - from));
            onlineSoftmax(scores[x], valid, keys, scale, out + x * outStride, width, &top[x], &total[x]);
        }
        multiply(queries, width, keys, {scores[0], KEYS, 1}, v + from * width, width, out, outStride, true);
    }
    for (int64_t x = 0; x < queries; x++) {
        for (int64_t i = 0; i < width; i++) {
            out[x * outStride + i] /= total[x];
        }
    }
}

void cachedAttention(const float* qkv, float* cacheK, float* cacheV, const int32_t* starts, float* o, Heads s,
    int64_t maxT, float scale) {
    int64_t longest = 0;
    for (int64_t row = 0; row < s.b; row++) {
        longest = most(longest, starts[row]);
    }
    int64_t floats = s.b * s.t * (longest + s.t) * s.k * s.h;
    parallelFor(s.b * s.hkv, floats, [=](int64_t index) {
        int64_t row = index / s.hkv, keyHead = index % s.hkv, perKey = s.h / s.hkv, start = starts[row];
        int64_t stride = (s.h + 2 * s.hkv) * s.k, outStride = s.h * s.k;
        const float* tokens = qkv + row * s.t * stride;
        float *k = cacheK + index * maxT * s.k, *v = cacheV + index * maxT * s.k;
        for (int64_t t = 0; t < s.t; t++) {
            const float* newK = tokens + t * stride + (s.h + keyHead) * s.k;
            std::memcpy(k + (start + t) * s.k, newK, s.k * sizeof(float));
            std::memcpy(v + (start + t) * s.k, newK + s.hkv * s.k, s.k * sizeof(float));
        }
        for (int64_t head = keyHead * perKey; head < (keyHead + 1) * perKey; head++) {
            for (int64_t t = 0; t < s.t; t += QUERIES) {
                int64_t queries = least(QUERIES, s.t - t);
                float* out = o + (row * s.t + t) * outStride + head * s.k;
                attend(tokens + t * stride + head * s.k, stride, queries, start + t, k, v, s.k, out, outStride, scale);
            }
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
