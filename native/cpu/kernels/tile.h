// Register-blocked products of small matrices that are in cache: the inner part of attention.
#pragma once

#include "simd.h"

namespace brazier {
namespace BRAZIER_ISA {

#if defined(__AVX512F__)
constexpr int TILE_VECTORS = 4;  // 6 x 4 sums, 4 loads of b: 28 of 32 registers
#else
constexpr int TILE_VECTORS = 2;  // 6 x 2 sums, 2 loads of b, 1 broadcast: 15 of 16 registers
#endif
constexpr int TILE_ROWS = 6;

// A matrix by the strides of its two dims.
struct Strided {
    const float* data;
    int64_t row, depth;
};

// c[ROWS, VECTORS LANES] (+)= a[ROWS, depth] b[depth, VECTORS LANES]; only `last` lanes of the last vector exist.
template <int ROWS, int VECTORS, bool PARTIAL>
static void tile(int64_t depth, Strided a, const float* b, int64_t bStride, float* c, int64_t cStride, bool accumulate,
    int64_t last) {
    auto get = [=](const float* p, int v) __attribute__((always_inline)) {
        return PARTIAL && v == VECTORS - 1 ? loadPartial(p + v * LANES, last) : load(p + v * LANES);
    };
    Vec sums[ROWS][VECTORS] = {};
    if (accumulate) {
        for (int r = 0; r < ROWS; r++) {
            for (int v = 0; v < VECTORS; v++) {
                sums[r][v] = get(c + r * cStride, v);
            }
        }
    }
    for (int64_t d = 0; d < depth; d++) {
        Vec row[VECTORS];
        for (int v = 0; v < VECTORS; v++) {
            row[v] = get(b + d * bStride, v);
        }
        for (int r = 0; r < ROWS; r++) {
            float factor = a.data[r * a.row + d * a.depth];
            for (int v = 0; v < VECTORS; v++) {
                sums[r][v] += row[v] * factor;
            }
        }
    }
    for (int r = 0; r < ROWS; r++) {
        for (int v = 0; v < VECTORS; v++) {
            float* to = c + r * cStride + v * LANES;
            if (PARTIAL && v == VECTORS - 1) {
                storePartial(to, sums[r][v], last);
            } else {
                store(to, sums[r][v]);
            }
        }
    }
}

template <int VECTORS, bool PARTIAL>
static void rowsOfTiles(int64_t rows, int64_t depth, Strided a, const float* b, int64_t bStride, float* c,
    int64_t cStride, bool accumulate, int64_t last) {
    int64_t r = 0;
    auto next = [&](auto run, int64_t step) __attribute__((always_inline)) {
        run(depth, Strided{a.data + r * a.row, a.row, a.depth}, b, bStride, c + r * cStride, cStride, accumulate, last);
        r += step;
    };
    while (r + TILE_ROWS <= rows) {
        next(tile<TILE_ROWS, VECTORS, PARTIAL>, TILE_ROWS);
    }
    switch (rows - r) {
        case 5: next(tile<5, VECTORS, PARTIAL>, 5); break;
        case 4: next(tile<4, VECTORS, PARTIAL>, 4); break;
        case 3: next(tile<3, VECTORS, PARTIAL>, 3); break;
        case 2: next(tile<2, VECTORS, PARTIAL>, 2); break;
        case 1: next(tile<1, VECTORS, PARTIAL>, 1); break;
        default: break;
    }
}

// c[rows, columns] (+)= a[rows, depth] b[depth, columns].
static inline void multiply(int64_t rows, int64_t columns, int64_t depth, Strided a, const float* b, int64_t bStride,
    float* c, int64_t cStride, bool accumulate) {
    constexpr int64_t WIDE = TILE_VECTORS * LANES;
    int64_t x = 0;
    for (; x + WIDE <= columns; x += WIDE) {
        rowsOfTiles<TILE_VECTORS, false>(rows, depth, a, b + x, bStride, c + x, cStride, accumulate, LANES);
    }
    for (; x + LANES <= columns; x += LANES) {
        rowsOfTiles<1, false>(rows, depth, a, b + x, bStride, c + x, cStride, accumulate, LANES);
    }
    if (x < columns) {
        rowsOfTiles<1, true>(rows, depth, a, b + x, bStride, c + x, cStride, accumulate, columns - x);
    }
}

// out[columns, outStride] = the transpose of in[rows, columns], zeros from column `rows` of out up to `padded`.
static inline void transpose(const float* in, int64_t inStride, int64_t rows, int64_t columns, float* out,
    int64_t outStride, int64_t padded) {
    for (int64_t r = 0; r < padded; r += LANES) {
        int64_t n = least(LANES, rows - r);
        for (int64_t c = 0; c < columns; c++) {
            Vec v{};
            for (int64_t lane = 0; lane < n; lane++) {
                v[lane] = in[(r + lane) * inStride + c];
            }
            store(out + c * outStride + r, v);
        }
    }
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
