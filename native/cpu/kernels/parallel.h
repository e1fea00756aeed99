// Splitting work over the calling thread's OpenMP team.
#pragma once

#include <omp.h>

#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

// Waking a team costs microseconds: work that touches fewer floats than this for each thread stays on the caller.
constexpr int64_t GRAIN = 16384;

INLINE int teamFor(int64_t items, int64_t floats) {
    return static_cast<int>(most(1, least(least(omp_get_max_threads(), items), floats / GRAIN)));
}

// body(item) for each of `items`, which touch about `floats` floats together.
template <class Body>
INLINE void parallelFor(int64_t items, int64_t floats, Body body) {
    int team = teamFor(items, floats);
    if (team == 1) {
        for (int64_t item = 0; item < items; item++) {
            body(item);
        }
        return;
    }
#pragma omp parallel for schedule(static) num_threads(team)
    for (int64_t item = 0; item < items; item++) {
        body(item);
    }
}

// body(begin, end) over chunks of [0, count) that do not depend on the number of threads.
template <class Body>
INLINE void parallelChunks(int64_t count, int64_t chunk, Body body) {
    parallelFor((count + chunk - 1) / chunk, count, [&](int64_t x) __attribute__((always_inline)) {
        body(x * chunk, least(count, (x + 1) * chunk));
    });
}

// whole(x) for each whole vector of [begin, end), partial(x, n) for the n < LANES elements that remain.
template <class Whole, class Partial>
INLINE void vectorLoop(int64_t begin, int64_t end, Whole whole, Partial partial) {
    int64_t x = begin;
    for (; x + LANES <= end; x += LANES) {
        whole(x);
    }
    if (x < end) {
        partial(x, end - x);
    }
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
