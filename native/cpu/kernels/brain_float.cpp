// bf16 is the upper half of an f32.
#include <cstring>

#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr int64_t CHUNK = 16384;

INLINE uint32_t bitsOf(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
}

INLINE float widened(uint16_t x) {
    uint32_t bits = uint32_t{x} << 16;
    float y;
    std::memcpy(&y, &bits, sizeof y);
    return y;
}

// To nearest even; a NaN becomes quiet, as rounding could carry it to infinity.
void toBrainFloat(const float* x, uint16_t* y, int64_t count) {
    parallelChunks(count, CHUNK, [=](int64_t begin, int64_t end) {
#pragma omp simd
        for (int64_t i = begin; i < end; i++) {
            uint32_t bits = bitsOf(x[i]);
            uint32_t rounded = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16;
            uint32_t quiet = bits >> 16 | 0x40;
            y[i] = static_cast<uint16_t>((bits & 0x7FFFFFFF) > 0x7F800000 ? quiet : rounded);
        }
    });
}

void fromBrainFloat(const uint16_t* x, float* y, int64_t count) {
    parallelChunks(count, CHUNK, [=](int64_t begin, int64_t end) {
#pragma omp simd
        for (int64_t i = begin; i < end; i++) {
            y[i] = widened(x[i]);
        }
    });
}

void brainFloatRows(const int32_t* ids, const uint16_t* table, float* y, int64_t rows, int64_t width,
    int64_t vocabulary, int64_t firstId) {
    parallelFor(rows, rows * width, [=](int64_t row) {
        int64_t id = ids[row] - firstId;
        bool held = id >= 0 && id < vocabulary;
        for (int64_t i = 0; i < width; i++) {
            y[row * width + i] = held ? widened(table[id * width + i]) : 0.f;
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
