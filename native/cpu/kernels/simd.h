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

}  // namespace BRAZIER_ISA
}  // namespace brazier
