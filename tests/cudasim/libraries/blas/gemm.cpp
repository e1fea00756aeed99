#include "gemm.h"

#include <algorithm>
#include <cstdint>
#include <vector>

#include "../numbers.h"

namespace cudasim {

namespace {

typedef float Lanes __attribute__((vector_size(32), aligned(4)));

constexpr size_t TILE_M = 16, TILE_N = 6, BLOCK_M = 192, BLOCK_K = 256;

float rounded(float value) {
    uint32_t bits = floatToBits(value);
    return bitsToFloat((bits + 0x1000) & ~uint32_t{0x1fff});
}

// packed [count / tile][depth][tile], the last tile filled up with zeros.
void pack(const Operand& x, size_t step, size_t depthStep, size_t first, size_t count, size_t firstDepth, size_t depth, size_t tile,
          float* packed) {
    for (size_t start = 0; start < count; start += tile) {
        for (size_t d = 0; d < depth; d++) {
            for (size_t i = 0; i < tile; i++) {
                float value = 0;
                if (start + i < count) {
                    value = loadFloat(x.type, x.base, (first + start + i) * step + (firstDepth + d) * depthStep);
                    value = x.tf32 ? rounded(value) : value;
                }
                *packed++ = value;
            }
        }
    }
}

__attribute__((target_clones("arch=haswell", "default"))) void tile(const float* a, const float* b, size_t depth, float* sums) {
    Lanes low[TILE_N] = {}, high[TILE_N] = {};
    for (size_t d = 0; d < depth; d++) {
        const Lanes a0 = *reinterpret_cast<const Lanes*>(a + d * TILE_M);
        const Lanes a1 = *reinterpret_cast<const Lanes*>(a + d * TILE_M + 8);
#pragma GCC unroll 6
        for (size_t j = 0; j < TILE_N; j++) {
            low[j] += a0 * b[d * TILE_N + j];
            high[j] += a1 * b[d * TILE_N + j];
        }
    }
    for (size_t j = 0; j < TILE_N; j++) {
        *reinterpret_cast<Lanes*>(sums + j * TILE_M) = low[j];
        *reinterpret_cast<Lanes*>(sums + j * TILE_M + 8) = high[j];
    }
}

size_t roundUp(size_t value, size_t step) {
    return (value + step - 1) / step * step;
}

}  // namespace

void multiply(const Operand& a, const Operand& b, size_t m, size_t n, size_t k, float* out) {
    std::fill(out, out + m * n, 0.0f);
    std::vector<float> packedA(BLOCK_M * BLOCK_K), packedB(roundUp(n, TILE_N) * BLOCK_K);
    float sums[TILE_M * TILE_N];
    for (size_t k0 = 0; k0 < k; k0 += BLOCK_K) {
        size_t depth = std::min(BLOCK_K, k - k0);
        pack(b, b.columnStep, b.rowStep, 0, n, k0, depth, TILE_N, packedB.data());
        for (size_t m0 = 0; m0 < m; m0 += BLOCK_M) {
            size_t rows = std::min(BLOCK_M, m - m0);
            pack(a, a.rowStep, a.columnStep, m0, rows, k0, depth, TILE_M, packedA.data());
            for (size_t j0 = 0; j0 < n; j0 += TILE_N) {
                for (size_t i0 = 0; i0 < rows; i0 += TILE_M) {
                    tile(packedA.data() + i0 * depth, packedB.data() + j0 * depth, depth, sums);
                    for (size_t j = j0; j < std::min(n, j0 + TILE_N); j++) {
                        for (size_t i = i0; i < std::min(rows, i0 + TILE_M); i++) {
                            out[j * m + m0 + i] += sums[(j - j0) * TILE_M + i - i0];
                        }
                    }
                }
            }
        }
    }
}

}  // namespace cudasim
