// Vectors of the widest size of the instruction set being compiled, by GCC's vector extensions.
// Only always-inlined functions: a shared out-of-line one would be linked once, for whichever set came first.
#pragma once

#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

namespace brazier {
namespace BRAZIER_ISA {

#if defined(__AVX512F__)
constexpr int LANES = 16;
#elif defined(__AVX2__)
constexpr int LANES = 8;
#else
constexpr int LANES = 4;
#endif

typedef float Vec __attribute__((vector_size(LANES * 4)));
typedef int32_t VecInt __attribute__((vector_size(LANES * 4)));

INLINE int64_t least(int64_t a, int64_t b) {
    return a < b ? a : b;
}

INLINE int64_t most(int64_t a, int64_t b) {
    return a > b ? a : b;
}

INLINE int64_t roundUp(int64_t value, int64_t multiple) {
    return (value + multiple - 1) / multiple * multiple;
}

INLINE bool within(int64_t index, int64_t size) {
    return index >= 0 && index < size;
}

INLINE Vec splat(float value) {
    return Vec{} + value;
}

INLINE Vec load(const float* p) {
    Vec v;
    std::memcpy(&v, p, sizeof v);
    return v;
}

INLINE void store(float* p, Vec v) {
    std::memcpy(p, &v, sizeof v);
}

// The first n < LANES elements; zeros follow.
INLINE Vec loadPartial(const float* p, int64_t n) {
    Vec v{};
    std::memcpy(&v, p, n * sizeof(float));
    return v;
}

INLINE void storePartial(float* p, Vec v, int64_t n) {
    std::memcpy(p, &v, n * sizeof(float));
}

// The first n <= LANES elements.
INLINE Vec loadUpTo(const float* p, int64_t n) {
    return n == LANES ? load(p) : loadPartial(p, n);
}

INLINE void storeUpTo(float* p, Vec v, int64_t n) {
    n == LANES ? store(p, v) : storePartial(p, v, n);
}

INLINE Vec larger(Vec a, Vec b) {
    return a > b ? a : b;
}

INLINE Vec smaller(Vec a, Vec b) {
    return a < b ? a : b;
}

// Lane l of the result is lane l ^ H of v.
template <int H>
INLINE Vec swapLanes(Vec v) {
    VecInt lanes;
    for (int l = 0; l < LANES; l++) {
        lanes[l] = l ^ H;
    }
    return __builtin_shuffle(v, lanes);
}

INLINE float sum(Vec v) {
    if (LANES >= 16) {
        v += swapLanes<LANES >= 16 ? 8 : 1>(v);
    }
    if (LANES >= 8) {
        v += swapLanes<LANES >= 8 ? 4 : 1>(v);
    }
    v += swapLanes<2>(v);
    v += swapLanes<1>(v);
    return v[0];
}

INLINE float largest(Vec v) {
    if (LANES >= 16) {
        v = larger(v, swapLanes<LANES >= 16 ? 8 : 1>(v));
    }
    if (LANES >= 8) {
        v = larger(v, swapLanes<LANES >= 8 ? 4 : 1>(v));
    }
    v = larger(v, swapLanes<2>(v));
    v = larger(v, swapLanes<1>(v));
    return v[0];
}

// e^x within 1.5 ulp (Cephes' polynomial after taking out a power of two); 0 below -87.3, e^88.3 above, NaN stays.
INLINE Vec exponential(Vec x) {
    const Vec tiny = splat(-87.33f);
    Vec bounded = smaller(larger(tiny, x), splat(88.37f));
    bounded = x == x ? bounded : x;
    const Vec magic = splat(12582912.f);
    Vec shifted = bounded * 1.44269504f + magic;
    Vec power = shifted - magic;
    Vec r = bounded - power * 0.693359375f + power * 2.12194440e-4f;
    Vec p = splat(1.9875691500e-4f);
    p = p * r + 1.3981999507e-3f;
    p = p * r + 8.3334519073e-3f;
    p = p * r + 4.1665795894e-2f;
    p = p * r + 1.6666665459e-1f;
    p = p * r + 5.0000001201e-1f;
    p = p * r * r + r + 1.f;
    VecInt bits = ((VecInt)shifted - (VecInt)magic + 127) << 23;
    Vec result = p * (Vec)bits;
    return x < tiny ? Vec{} : result;
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
