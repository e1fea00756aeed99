// Elementwise maps over flat arrays; every output may be one of its inputs.
#include "gelu.h"
#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr int64_t CHUNK = 16384;

// y[i] = f(x[i])
template <class F>
INLINE void map(const float* x, float* y, int64_t count, F f) {
    parallelChunks(count, CHUNK, [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
        vectorLoop(
            begin, end, [=](int64_t i) __attribute__((always_inline)) { store(y + i, f(load(x + i))); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                storePartial(y + i, f(loadPartial(x + i, n)), n);
            });
    });
}

// y[i] = f(a[i], b[i])
template <class F>
INLINE void map(const float* a, const float* b, float* y, int64_t count, F f) {
    parallelChunks(count, CHUNK, [=](int64_t begin, int64_t end) __attribute__((always_inline)) {
        vectorLoop(
            begin, end, [=](int64_t i) __attribute__((always_inline)) { store(y + i, f(load(a + i), load(b + i))); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                storePartial(y + i, f(loadPartial(a + i, n), loadPartial(b + i, n)), n);
            });
    });
}

void fill(float* dst, int64_t count, float value) {
    Vec v = splat(value);
    parallelChunks(count, CHUNK, [=](int64_t begin, int64_t end) {
        vectorLoop(
            begin, end, [=](int64_t i) { store(dst + i, v); },
            [=](int64_t i, int64_t n) { storePartial(dst + i, v, n); });
    });
}

void gelu(const float* x, float* y, int64_t count) {
    map(x, y, count, [](Vec v) __attribute__((always_inline)) { return geluOf(v); });
}

void geluGrad(const float* x, const float* dy, float* dx, int64_t count) {
    map(x, dy, dx, count, [](Vec v, Vec g) __attribute__((always_inline)) { return g * geluSlope(v); });
}

// The normal distribution's Phi(x) by Abramowitz and Stegun 7.1.26 for erfc, within 1e-7; density gets e^(-x^2/2).
INLINE Vec normalCdf(Vec x, Vec& density) {
    Vec magnitude = larger(x, -x);
    density = exponential(-0.5f * x * x);
    Vec t = 1.f / (magnitude * (0.3275911f * 0.70710678f) + 1.f);
    Vec p = t * 1.061405429f - 1.453152027f;
    p = p * t + 1.421413741f;
    p = p * t - 0.284496736f;
    p = (p * t + 0.254829592f) * t;
    Vec tail = 0.5f * p * density;
    return x > Vec{} ? 1.f - tail : tail;
}

// y = x Phi(x)
void erfGelu(const float* x, float* y, int64_t count) {
    map(x, y, count, [](Vec v) __attribute__((always_inline)) {
        Vec density;
        return v * normalCdf(v, density);
    });
}

// dx = dy (Phi(x) + x e^(-x^2/2) / sqrt(2 pi))
void erfGeluGrad(const float* x, const float* dy, float* dx, int64_t count) {
    map(x, dy, dx, count, [](Vec v, Vec g) __attribute__((always_inline)) {
        Vec density;
        Vec phi = normalCdf(v, density);
        return g * (phi + v * density * 0.3989422804f);
    });
}

void relu(const float* x, float* y, int64_t count) {
    map(x, y, count, [](Vec v) __attribute__((always_inline)) { return v < Vec{} ? Vec{} : v; });
}

void reluGrad(const float* x, const float* dy, float* dx, int64_t count) {
    map(x, dy, dx, count, [](Vec v, Vec g) __attribute__((always_inline)) { return v > Vec{} ? g : Vec{}; });
}

// y = x s, s = 1 / (1 + e^(-x))
void silu(const float* x, float* y, int64_t count) {
    map(x, y, count, [](Vec v) __attribute__((always_inline)) { return v / (exponential(-v) + 1.f); });
}

// dx = dy s (1 + x (1 - s)), and 1 - s = e^(-x) s without cancellation
void siluGrad(const float* x, const float* dy, float* dx, int64_t count) {
    map(x, dy, dx, count, [](Vec v, Vec g) __attribute__((always_inline)) {
        Vec e = exponential(-v);
        Vec s = 1.f / (e + 1.f);
        return g * s * (v * e * s + 1.f);
    });
}

void add(const float* a, const float* b, float* y, int64_t count) {
    map(a, b, y, count, [](Vec v, Vec w) __attribute__((always_inline)) { return v + w; });
}

void scale(const float* x, float* y, int64_t count, float factor) {
    map(x, y, count, [=](Vec v) __attribute__((always_inline)) { return v * factor; });
}

bool allFinite(const float* x, int64_t count) {
    int found = 0;
#pragma omp parallel for schedule(static) reduction(| : found) num_threads(teamFor(count, count))
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        std::memcpy(&bits, x + i, sizeof bits);
        found |= (bits & 0x7f800000u) == 0x7f800000u;
    }
    return found == 0;
}

// Philox4x32-10 (Salmon et al., SC 2011) for LANES consecutive counters; words[w][lane].
INLINE void philox(uint64_t block, uint32_t step, uint32_t stream, uint64_t seed, uint32_t words[4][LANES]) {
    uint32_t c0[LANES], c1[LANES], c2[LANES], c3[LANES];
    for (int x = 0; x < LANES; x++) {
        c0[x] = static_cast<uint32_t>(block + x);
        c1[x] = static_cast<uint32_t>((block + x) >> 32);
        c2[x] = step;
        c3[x] = stream;
    }
    uint32_t k0 = static_cast<uint32_t>(seed), k1 = static_cast<uint32_t>(seed >> 32);
    for (int round = 0; round < 10; round++) {
        for (int x = 0; x < LANES; x++) {
            uint64_t p0 = uint64_t{0xD2511F53u} * c0[x], p1 = uint64_t{0xCD9E8D57u} * c2[x];
            c0[x] = static_cast<uint32_t>(p1 >> 32) ^ c1[x] ^ k0;
            c1[x] = static_cast<uint32_t>(p1);
            c2[x] = static_cast<uint32_t>(p0 >> 32) ^ c3[x] ^ k1;
            c3[x] = static_cast<uint32_t>(p0);
        }
        k0 += 0x9E3779B9u;
        k1 += 0xBB67AE85u;
    }
    std::memcpy(words[0], c0, sizeof c0);
    std::memcpy(words[1], c1, sizeof c1);
    std::memcpy(words[2], c2, sizeof c2);
    std::memcpy(words[3], c3, sizeof c3);
}

// Element e of the whole (unsharded, unbatched) array takes word e % 4 of the block e / 4.
void dropout(
    const float* x, float* y, int64_t count, float rate, const int64_t* rng, int64_t stream, int64_t rowWidth) {
    int64_t first = rng[2] * rowWidth;
    float kept = 1.f / (1.f - rate);
    constexpr int64_t GROUP = 4 * LANES;
    int64_t firstGroup = first / GROUP, groups = (first + count + GROUP - 1) / GROUP - firstGroup;
    uint32_t step = static_cast<uint32_t>(rng[1]);
    uint64_t seed = static_cast<uint64_t>(rng[0]);
    parallelFor(groups, 4 * count, [=](int64_t group) __attribute__((always_inline)) {
        uint32_t words[4][LANES];
        int64_t begin = (firstGroup + group) * GROUP;
        philox(begin / 4, step, static_cast<uint32_t>(stream), seed, words);
        int64_t from = most(begin, first), to = least(begin + GROUP, first + count);
        for (int64_t e = from; e < to; e++) {
            uint32_t word = words[(e - begin) % 4][(e - begin) / 4];
            y[e - first] = (word >> 8) * 0x1p-24f >= rate ? x[e - first] * kept : 0.f;
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
