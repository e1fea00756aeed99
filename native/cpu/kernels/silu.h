// SiLU: x s with s = 1 / (1 + e^(-x)).
#pragma once

#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

INLINE Vec siluOf(Vec x) {
    return x / (exponential(-x) + 1.f);
}

// silu' = s (1 + x (1 - s)), and 1 - s = e^(-x) s without cancellation.
INLINE Vec siluSlope(Vec x) {
    Vec e = exponential(-x);
    Vec s = 1.f / (e + 1.f);
    return s * (x * e * s + 1.f);
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
