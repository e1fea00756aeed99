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
    auto next = [&](auto run, int64_t width) __attribute__((always_inline)) {
        run(rows, depth, a, b + x, bStride, c + x, cStride, accumulate, columns - x);
        x += width;
    };
    while (x + WIDE <= columns) {
        next(rowsOfTiles<TILE_VECTORS, false>, WIDE);
    }
    switch ((columns - x) / LANES) {
        case 3: next(rowsOfTiles<3, false>, 3 * LANES); break;
        case 2: next(rowsOfTiles<2, false>, 2 * LANES); break;
        case 1: next(rowsOfTiles<1, false>, LANES); break;
        default: break;
    }
    if (x < columns) {
        next(rowsOfTiles<1, true>, LANES);
    }
}

// Exchanges element h + l of each row r with element l of row r + h, blockwise: one of log2(LANES) steps of a transpose.
template <int H>
INLINE void exchange(Vec rows[LANES]) {
    VecInt upper, lower;
    for (int l = 0; l < LANES; l++) {
        upper[l] = (l & H) == 0 ? l : LANES + l - H;
        lower[l] = (l & H) == 0 ? l + H : LANES + l;
    }
#pragma GCC unroll 16
    for (int r = 0; r < LANES; r++) {
        if ((r & H) == 0) {
            Vec a = rows[r], b = rows[r + H];
            rows[r] = __builtin_shuffle(a, b, upper);
            rows[r + H] = __builtin_shuffle(a, b, lower);
        }
    }
}

INLINE void transposeSquare(Vec rows[LANES]) {
    exchange<1>(rows);
    exchange<2>(rows);
    if (LANES >= 8) {
        exchange<LANES >= 8 ? 4 : 1>(rows);
    }
    if (LANES >= 16) {
        exchange<LANES >= 16 ? 8 : 1>(rows);
    }
}

// out[columns, outStride] = the transpose of in[rows, columns], zeros from column `rows` of out up to `padded`.
static inline void transpose(const float* in, int64_t inStride, int64_t rows, int64_t columns, float* out,
    int64_t outStride, int64_t padded) {
    for (int64_t r = 0; r < padded; r += LANES) {
        for (int64_t c = 0; c < columns; c += LANES) {
            int64_t width = least(LANES, columns - c);
            Vec square[LANES];
#pragma GCC unroll 16
            for (int64_t x = 0; x < LANES; x++) {
                const float* from = in + (r + x) * inStride + c;
                square[x] = r + x >= rows ? Vec{} : width == LANES ? load(from) : loadPartial(from, width);
            }
            transposeSquare(square);
            if (width == LANES) {
#pragma GCC unroll 16
                for (int64_t x = 0; x < LANES; x++) {
                    store(out + (c + x) * outStride + r, square[x]);
                }
            } else {
                for (int64_t x = 0; x < width; x++) {
                    store(out + (c + x) * outStride + r, square[x]);
                }
            }
        }
    }
}

// out[rows, width] = the rows of in, which lie `stride` apart.
static inline void gather(const float* in, int64_t stride, int64_t rows, int64_t width, float* out) {
    for (int64_t r = 0; r < rows; r++) {
        std::memcpy(out + r * width, in + r * stride, width * sizeof(float));
    }
}

// The rows of out, which lie `stride` apart, = in[rows, width].
static inline void scatter(const float* in, int64_t rows, int64_t width, float* out, int64_t stride) {
    for (int64_t r = 0; r < rows; r++) {
        std::memcpy(out + r * stride, in + r * width, width * sizeof(float));
    }
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
