// Moves of token rows [rows, width] to the slots of the experts' buffers [numSlots, width] and back. slots [rows, k]: the
// slot of each assignment, negative where it was dropped; gates [rows, k], or absent for 1.
#include "kernels.h"
#include "parallel.h"
#include "products.h"

namespace brazier {
namespace BRAZIER_ISA {

// buffer[slots[a]] = gates[a] x[a / k], 0 in empty slots. scratch i32 [numSlots] says which assignment owns a slot, so that
// each row of the buffer is written once.
void dispatchTokens(const float* x, const int32_t* slots, const float* gates, float* buffer, int32_t* scratch, int64_t rows,
    int64_t k, int64_t numSlots, int64_t width) {
    std::memset(scratch, -1, numSlots * sizeof(int32_t));
    for (int64_t a = 0; a < rows * k; a++) {
        if (slots[a] >= 0) {
            scratch[slots[a]] = static_cast<int32_t>(a);
        }
    }
    parallelFor(numSlots, 2 * numSlots * width, [=](int64_t slot) __attribute__((always_inline)) {
        float* out = buffer + slot * width;
        int64_t a = scratch[slot];
        if (a < 0) {
            std::memset(out, 0, width * sizeof(float));
            return;
        }
        const float* in = x + a / k * width;
        if (gates == nullptr) {
            std::memcpy(out, in, width * sizeof(float));
            return;
        }
        float gate = gates[a];
        vectorLoop(
            0, width, [=](int64_t i) __attribute__((always_inline)) { store(out + i, load(in + i) * gate); },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                storePartial(out + i, loadPartial(in + i, n) * gate, n);
            });
    });
}

// y[row] = sum over its assignments that were not dropped of gates[a] buffer[slots[a]], in the order of choices.
void combineTokens(const float* buffer, const int32_t* slots, const float* gates, float* y, int64_t rows, int64_t k,
    int64_t width) {
    parallelFor(rows, rows * (k + 1) * width, [=](int64_t row) __attribute__((always_inline)) {
        const int32_t* from = slots + row * k;
        for (int64_t i = 0; i < width; i += LANES) {
            int64_t n = least(LANES, width - i);
            Vec total{};
            for (int64_t j = 0; j < k; j++) {
                if (from[j] >= 0) {
                    float gate = gates == nullptr ? 1.f : gates[row * k + j];
                    total += loadUpTo(buffer + from[j] * width + i, n) * gate;
                }
            }
            storeUpTo(y + row * width + i, total, n);
        }
    });
}

// dots[a] = x[a / k] . buffer[slots[a]], 0 where dropped.
void gatesGrad(const float* x, const float* buffer, const int32_t* slots, float* dots, int64_t rows, int64_t k,
    int64_t width) {
    parallelFor(rows, rows * (k + 1) * width, [=](int64_t row) __attribute__((always_inline)) {
        for (int64_t a = row * k; a < (row + 1) * k; a++) {
            dots[a] = slots[a] < 0 ? 0.f : dot(x + row * width, buffer + slots[a] * width, width);
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
