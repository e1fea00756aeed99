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

// FLOP/s of the fastest stretch of 0.1 ms in about `seconds`, each multiply-add counted as two.
double fmaFlops(double seconds) {
    constexpr int CHAINS = 10;
    constexpr int ROUNDS = 100000;
    const Vec factor = splat(0.999f), term = splat(0.001f);
    Vec a{}, b{}, c{}, d{}, e{}, f{}, g{}, h{}, i{}, j{};
    constexpr double flops = 2.0 * LANES * CHAINS * ROUNDS;
    double end = now() + seconds, best = 0;
    for (double start = now(); start < end; start = now()) {
        for (int round = 0; round < ROUNDS; round++) {
            a = a * factor + term, b = b * factor + term, c = c * factor + term, d = d * factor + term;
            e = e * factor + term, f = f * factor + term, g = g * factor + term, h = h * factor + term;
            i = i * factor + term, j = j * factor + term;
            // The chains are opaque to the compiler here, so it can neither fold rounds nor drop them.
#if defined(__x86_64__)
            asm volatile("" : "+v"(a), "+v"(b), "+v"(c), "+v"(d), "+v"(e), "+v"(f), "+v"(g), "+v"(h), "+v"(i), "+v"(j));
#else
            asm volatile("" : "+w"(a), "+w"(b), "+w"(c), "+w"(d), "+w"(e), "+w"(f), "+w"(g), "+w"(h), "+w"(i), "+w"(j));
#endif
        }
        double rate = flops / (now() - start);
        best = rate > best ? rate : best;
    }
    return best;
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
