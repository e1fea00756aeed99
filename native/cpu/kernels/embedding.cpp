// Table look-up and its gradient. The table holds the rows of ids firstId ..; other ids take zeros and give nothing.
#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

void embedding(const int32_t* tokens, const float* table, const float* addend, float* y, int64_t rows, int64_t width,
    int64_t vocabulary, int64_t firstId) {
    parallelFor(rows, rows * width, [=](int64_t row) {
        int64_t id = tokens[row] - firstId;
        const float* from = table + id * width;
        const float* plus = addend == nullptr ? nullptr : addend + row * width;
        float* to = y + row * width;
        if (!within(id, vocabulary)) {
            plus == nullptr ? std::memset(to, 0, width * sizeof(float)) : std::memmove(to, plus, width * sizeof(float));
            return;
        }
        if (plus == nullptr) {
            std::memcpy(to, from, width * sizeof(float));
            return;
        }
        for (int64_t i = 0; i < width; i++) {
            to[i] = from[i] + plus[i];
        }
    });
}

// Rows of one token add up in their order: threads share out the columns, not the rows.
void embeddingGrad(const int32_t* tokens, const float* dy, float* dtable, int64_t rows, int64_t width,
    int64_t vocabulary, int64_t firstId, bool accumulate) {
    if (!accumulate) {
        fill(dtable, vocabulary * width, 0.f);
    }
    constexpr int64_t BLOCK = 4 * LANES;
    parallelFor((width + BLOCK - 1) / BLOCK, rows * width, [=](int64_t block) {
        int64_t from = block * BLOCK, n = least(BLOCK, width - from);
        for (int64_t row = 0; row < rows; row++) {
            int64_t id = tokens[row] - firstId;
            if (!within(id, vocabulary)) {
                continue;
            }
            float* to = dtable + id * width + from;
            const float* plus = dy + row * width + from;
            for (int64_t i = 0; i < n; i++) {
                to[i] += plus[i];
            }
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
