// GELU by tanh, as GPT-2 has it.
#pragma once

#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr float SQRT_2_OVER_PI = 0.7978845608f;
constexpr float CUBIC = 0.044715f;

// e^(-2u), u = sqrt(2/pi) (x + 0.044715 x^3).
INLINE Vec geluExponential(Vec x) {
    return exponential(x * (x * x * (-2 * SQRT_2_OVER_PI * CUBIC) - 2 * SQRT_2_OVER_PI));
}

// x/2 (1 + tanh(u)) = x / (1 + e^(-2u)).
INLINE Vec geluOf(Vec x) {
    return x / (geluExponential(x) + 1.f);
}

// With s = 1 / (1 + e^(-2u)): gelu' = s + x s (1 - s) 2u', and 1 - s = e^(-2u) s without cancellation.
INLINE Vec geluSlope(Vec x) {
    Vec e = geluExponential(x);
    Vec s = 1.f / (e + 1.f);
    return s + x * (e * s * s) * (x * x * (6 * SQRT_2_OVER_PI * CUBIC) + 2 * SQRT_2_OVER_PI);
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
