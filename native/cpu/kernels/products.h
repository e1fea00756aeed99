// Inner product of two rows.
#pragma once

#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

INLINE float dot(const float* a, const float* b, int64_t count) {
    Vec sums[4] = {};
    int64_t i = 0;
    for (; i + 4 * LANES <= count; i += 4 * LANES) {
        for (int part = 0; part < 4; part++) {
            sums[part] += load(a + i + part * LANES) * load(b + i + part * LANES);
        }
    }
    for (; i < count; i += LANES) {
        int64_t n = least(LANES, count - i);
        sums[0] += loadUpTo(a + i, n) * loadUpTo(b + i, n);
    }
    return sum(sums[0] + sums[1] + sums[2] + sums[3]);
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
