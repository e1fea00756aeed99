// Table look-up and its gradient.
#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

void embedding(
    const int32_t* tokens, const float* table, const float* addend, float* y, int64_t rows, int64_t width) {
    parallelFor(rows, rows * width, [=](int64_t row) {
        const float* from = table + tokens[row] * width;
        float* to = y + row * width;
        if (addend == nullptr) {
            std::memcpy(to, from, width * sizeof(float));
            return;
        }
        const float* plus = addend + row * width;
        for (int64_t i = 0; i < width; i++) {
            to[i] = from[i] + plus[i];
        }
    });
}

// Rows of one token add up in their order: threads share out the columns, not the rows.
void embeddingGrad(const int32_t* tokens, const float* dy, float* dtable, int64_t rows, int64_t width,
    int64_t vocabulary, bool accumulate) {
    if (!accumulate) {
        fill(dtable, vocabulary * width, 0.f);
    }
    constexpr int64_t BLOCK = 4 * LANES;
    parallelFor((width + BLOCK - 1) / BLOCK, rows * width, [=](int64_t block) {
        int64_t from = block * BLOCK, n = least(BLOCK, width - from);
        for (int64_t row = 0; row < rows; row++) {
            float* to = dtable + tokens[row] * width + from;
            const float* plus = dy + row * width + from;
            for (int64_t i = 0; i < n; i++) {
                to[i] += plus[i];
            }
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
