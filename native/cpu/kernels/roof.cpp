// The fp32 roof of one thread: independent fused multiply-adds on registers.
#include <time.h>

#include "kernels.h"
#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

static double now() {
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec + t.tv_nsec * 1e-9;
}

// FLOP/s over about `seconds`.
double fmaFlops(double seconds) {
    constexpr int CHAINS = LANES == 4 ? 8 : 12;
    constexpr int ROUNDS = 100000;
    Vec sums[CHAINS];
    for (int c = 0; c < CHAINS; c++) {
        sums[c] = splat(0.001f * c);
    }
    Vec factor = splat(0.999f), term = splat(0.001f);
    asm volatile("" : "+x"(factor), "+x"(term));
    double start = now(), elapsed = 0, flops = 0;
    while (elapsed < seconds) {
        for (int round = 0; round < ROUNDS; round++) {
            for (int c = 0; c < CHAINS; c++) {
                sums[c] = sums[c] * factor + term;
                asm volatile("" : "+x"(sums[c]));
            }
        }
        flops += 2.0 * LANES * CHAINS * ROUNDS;
        elapsed = now() - start;
    }
    return flops / elapsed;
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
