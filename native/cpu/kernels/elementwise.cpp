// Elementwise maps over flat arrays; every output may be one of its inputs.
#include "gelu.h"
#include "kernels.h"
#include "parallel.h"
#include "silu.h"

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

void silu(const float* x, float* y, int64_t count) {
    map(x, y, count, [](Vec v) __attribute__((always_inline)) { return siluOf(v); });
}

void siluGrad(const float* x, const float* dy, float* dx, int64_t count) {
    map(x, dy, dx, count, [](Vec v, Vec g) __attribute__((always_inline)) { return g * siluSlope(v); });
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

typedef uint64_t VecLong __attribute__((vector_size(LANES * 4)));
typedef uint32_t VecWord __attribute__((vector_size(LANES * 4)));
constexpr int HALF = LANES / 2;

// Philox4x32-10 (Salmon et al., SC 2011) of HALF consecutive counters {block .., step, stream}: the words in their order,
// four of each counter. 32-bit values are kept in 64-bit lanes, where their products fit.
INLINE void philox(uint64_t block, uint32_t step, uint32_t stream, uint64_t seed, VecWord words[2]) {
    const VecLong low = VecLong{} + 0xFFFFFFFFu;
    VecLong counter{};
    for (int x = 0; x < HALF; x++) {
        counter[x] = block + x;
    }
    VecLong c0 = counter & low, c1 = counter >> 32, c2 = VecLong{} + step, c3 = VecLong{} + stream;
    uint64_t k0 = seed & 0xFFFFFFFFu, k1 = seed >> 32;
#pragma GCC unroll 10
    for (int round = 0; round < 10; round++) {
        VecLong p0 = (c0 & low) * 0xD2511F53u, p1 = (c2 & low) * 0xCD9E8D57u;
        c0 = (p1 >> 32) ^ c1 ^ k0;
        c1 = p1 & low;
        c2 = (p0 >> 32) ^ c3 ^ k1;
        c3 = p0 & low;
        k0 = (k0 + 0x9E3779B9u) & 0xFFFFFFFFu;
        k1 = (k1 + 0xBB67AE85u) & 0xFFFFFFFFu;
    }
    VecLong front = c0 | (c1 << 32), back = c2 | (c3 << 32), first, second;
    for (int x = 0; x < HALF; x++) {
        first[x] = x / 2 + x % 2 * HALF;
        second[x] = HALF / 2 + x / 2 + x % 2 * HALF;
    }
    words[0] = (VecWord)__builtin_shuffle(front, back, first);
    words[1] = (VecWord)__builtin_shuffle(front, back, second);
}

// Element e of the whole (unsharded, unbatched) array takes word e % 4 of the block e / 4.
void dropout(
    const float* x, float* y, int64_t count, float rate, const int64_t* rng, int64_t rowOffset, int64_t stream,
    int64_t rowWidth) {
    constexpr int64_t GROUP = 2 * LANES;
    int64_t first = (rng[2] + rowOffset) * rowWidth, firstGroup = first / GROUP;
    int64_t groups = (first + count + GROUP - 1) / GROUP - firstGroup;
    uint32_t step = static_cast<uint32_t>(rng[1]);
    uint64_t seed = static_cast<uint64_t>(rng[0]);
    float kept = 1.f / (1.f - rate);
    parallelFor(groups, 4 * count, [=](int64_t group) __attribute__((always_inline)) {
        VecWord words[2];
        int64_t begin = (firstGroup + group) * GROUP - first;
        philox((begin + first) / 4, step, static_cast<uint32_t>(stream), seed, words);
        float factors[GROUP];
        for (int part = 0; part < 2; part++) {
            Vec uniform = __builtin_convertvector((VecInt)(words[part] >> 8), Vec) * 0x1p-24f;
            store(factors + part * LANES, uniform >= rate ? splat(kept) : Vec{});
        }
        if (begin >= 0 && begin + GROUP <= count) {
            store(y + begin, load(x + begin) * load(factors));
            store(y + begin + LANES, load(x + begin + LANES) * load(factors + LANES));
        } else {
            for (int64_t i = most(begin, 0); i < least(begin + GROUP, count); i++) {
                y[i] = x[i] * factors[i - begin];
            }
        }
    });
}

void addBias(const float* x, const float* bias, const float* addend, float* y, int64_t rows, int64_t width) {
    parallelFor(rows, rows * width, [=](int64_t row) __attribute__((always_inline)) {
        const float* from = x + row * width;
        const float* more = addend == nullptr ? nullptr : addend + row * width;
        float* to = y + row * width;
        vectorLoop(
            0, width, [=](int64_t i) __attribute__((always_inline)) {
                Vec sum = load(from + i) + load(bias + i);
                store(to + i, more == nullptr ? sum : sum + load(more + i));
            },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                Vec sum = loadPartial(from + i, n) + loadPartial(bias + i, n);
                storePartial(to + i, more == nullptr ? sum : sum + loadPartial(more + i, n), n);
            });
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
