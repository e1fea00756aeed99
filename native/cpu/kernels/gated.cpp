// Gated units (arXiv:2002.05202): x [rows, 2 width] holds gate and up side by side; y = f(gate) up [rows, width].
#include "gelu.h"
#include "kernels.h"
#include "parallel.h"
#include "silu.h"

namespace brazier {
namespace BRAZIER_ISA {

// Rows are cut too, so that a single wide row keeps all threads busy.
constexpr int64_t COLUMNS = 64 * LANES;

// body(row, column, n) for every vector of a matrix; n is LANES but at the end of a row.
template <class Body>
INLINE void forEachVector(int64_t rows, int64_t width, int64_t floats, Body body) {
    int64_t pieces = (width + COLUMNS - 1) / COLUMNS;
    parallelFor(rows * pieces, floats, [=](int64_t item) __attribute__((always_inline)) {
        int64_t row = item / pieces, from = item % pieces * COLUMNS;
        vectorLoop(
            from, least(width, from + COLUMNS), [=](int64_t i) __attribute__((always_inline)) { body(row, i, LANES); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) { body(row, i, n); });
    });
}

template <class F>
INLINE void gated(const float* x, float* y, int64_t rows, int64_t width, F f) {
    forEachVector(rows, width, 3 * rows * width, [=](int64_t row, int64_t i, int64_t n) __attribute__((always_inline)) {
        const float* gate = x + 2 * row * width + i;
        storeUpTo(y + row * width + i, f(loadUpTo(gate, n)) * loadUpTo(gate + width, n), n);
    });
}

// dgate = dy up f'(gate), dup = dy f(gate); dx may be x.
template <class F, class Slope>
INLINE void gatedGrad(const float* x, const float* dy, float* dx, int64_t rows, int64_t width, F f, Slope slope) {
    forEachVector(rows, width, 5 * rows * width, [=](int64_t row, int64_t i, int64_t n) __attribute__((always_inline)) {
        const float* in = x + 2 * row * width + i;
        float* out = dx + 2 * row * width + i;
        Vec gate = loadUpTo(in, n), up = loadUpTo(in + width, n), g = loadUpTo(dy + row * width + i, n);
        storeUpTo(out, g * up * slope(gate), n);
        storeUpTo(out + width, g * f(gate), n);
    });
}

void gatedGelu(const float* x, float* y, int64_t rows, int64_t width) {
    gated(x, y, rows, width, [](Vec v) __attribute__((always_inline)) { return geluOf(v); });
}

void gatedGeluGrad(const float* x, const float* dy, float* dx, int64_t rows, int64_t width) {
    gatedGrad(
        x, dy, dx, rows, width, [](Vec v) __attribute__((always_inline)) { return geluOf(v); },
        [](Vec v) __attribute__((always_inline)) { return geluSlope(v); });
}

void gatedSilu(const float* x, float* y, int64_t rows, int64_t width) {
    gated(x, y, rows, width, [](Vec v) __attribute__((always_inline)) { return siluOf(v); });
}

void gatedSiluGrad(const float* x, const float* dy, float* dx, int64_t rows, int64_t width) {
    gatedGrad(
        x, dy, dx, rows, width, [](Vec v) __attribute__((always_inline)) { return siluOf(v); },
        [](Vec v) __attribute__((always_inline)) { return siluSlope(v); });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
