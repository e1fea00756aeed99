// Softmax cross-entropy over rows of logits [rows, v]; probabilities are never stored. Where the vocabulary is split,
// the logits are those of the ids firstId .. firstId + v - 1 and a row's statistics [shards, rows] are the log-sum-exp of
// every shard.
#include <math.h>

#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

// log(sum(exp(row))), by the largest element and one pass of exponentials while the row is in cache.
INLINE float logSumExp(const float* row, int64_t v) {
    Vec tops[4] = {splat(-INFINITY), splat(-INFINITY), splat(-INFINITY), splat(-INFINITY)};
    int64_t i = 0;
    for (; i + 4 * LANES <= v; i += 4 * LANES) {
        for (int part = 0; part < 4; part++) {
            tops[part] = larger(load(row + i + part * LANES), tops[part]);
        }
    }
    float top = largest(larger(larger(tops[0], tops[1]), larger(tops[2], tops[3])));
    for (; i < v; i++) {
        top = row[i] > top ? row[i] : top;
    }
    // A long row is summed in blocks, so that fp32 lanes never add a small term to a large sum.
    constexpr int64_t BLOCK = 2048;
    double total = 0;
    int64_t whole = v / LANES * LANES;
    for (int64_t from = 0; from < whole; from += BLOCK) {
        int64_t end = least(whole, from + BLOCK);
        Vec sums[2] = {};
        for (i = from; i + 2 * LANES <= end; i += 2 * LANES) {
            sums[0] += exponential(load(row + i) - top);
            sums[1] += exponential(load(row + i + LANES) - top);
        }
        if (i < end) {
            sums[0] += exponential(load(row + i) - top);
        }
        total += sum(sums[0] + sums[1]);
    }
    if (whole < v) {
        Vec last = exponential(loadPartial(row + whole, v - whole) - top);
        for (int64_t x = 0; x < v - whole; x++) {
            total += last[x];
        }
    }
    return top + static_cast<float>(log(total));
}

void crossEntropy(const float* logits, const int32_t* targets, float* lse, float* loss, int64_t rows, int64_t v,
    float scale, bool accumulate) {
    parallelFor(rows, rows * v, [=](int64_t row) { lse[row] = logSumExp(logits + row * v, v); });
    double total = 0;
    for (int64_t row = 0; row < rows; row++) {
        if (targets[row] >= 0) {
            total += lse[row] - logits[row * v + targets[row]];
        }
    }
    loss[0] = static_cast<float>(scale * total) + (accumulate ? loss[0] : 0.f);
}

void rowLogSumExp(const float* logits, float* out, int64_t rows, int64_t v) {
    parallelFor(rows, rows * v, [=](int64_t row) { out[row] = logSumExp(logits + row * v, v); });
}

// log(sum(exp(x))) over the shards of one row.
INLINE float combine(const float* statistics, int64_t shards, int64_t rows, int64_t row) {
    float top = statistics[row];
    for (int64_t shard = 1; shard < shards; shard++) {
        float x = statistics[shard * rows + row];
        top = x > top ? x : top;
    }
    double total = 0;
    for (int64_t shard = 0; shard < shards; shard++) {
        total += exp(static_cast<double>(statistics[shard * rows + row]) - top);
    }
    return top + static_cast<float>(log(total));
}

void shardedCrossEntropy(const float* logits, const float* statistics, const int32_t* targets, float* lse, float* loss,
    int64_t rows, int64_t v, int64_t shards, int64_t firstId, float scale) {
    parallelFor(rows, rows * shards, [=](int64_t row) { lse[row] = combine(statistics, shards, rows, row); });
    double total = 0;
    for (int64_t row = 0; row < rows; row++) {
        int64_t id = targets[row] - firstId;
        if (within(id, v)) {
            total += lse[row] - logits[row * v + id];
        }
    }
    loss[0] = static_cast<float>(scale * total);
}

void crossEntropyGrad(const float* logits, const float* lse, const int32_t* targets, const float* dloss, float* dlogits,
    int64_t rows, int64_t v, int64_t firstId, float scale) {
    float factor = scale * dloss[0];
    parallelFor(rows, rows * v, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = logits + row * v;
        float* out = dlogits + row * v;
        if (targets[row] < 0) {
            std::memset(out, 0, v * sizeof(float));
            return;
        }
        float denominator = lse[row];
        vectorLoop(
            0, v,
            [=](int64_t i) __attribute__((always_inline)) {
                store(out + i, exponential(load(in + i) - denominator) * factor);
            },
            [=](int64_t i, int64_t n) __attribute__((always_inline)) {
                storePartial(out + i, exponential(loadPartial(in + i, n) - denominator) * factor, n);
            });
        int64_t id = targets[row] - firstId;
        if (within(id, v)) {
            out[id] -= factor;
        }
    });
}

void tokenLogLikelihood(const float* logits, const int32_t* targets, float* out, int64_t rows, int64_t v) {
    parallelFor(rows, rows * v, [=](int64_t row) {
        const float* in = logits + row * v;
        out[row] = targets[row] < 0 ? 0.f : in[targets[row]] - logSumExp(in, v);
    });
}

void shardedTokenLogLikelihood(const float* logits, const float* statistics, const int32_t* targets, float* out,
    int64_t rows, int64_t v, int64_t shards, int64_t firstId) {
    parallelFor(rows, rows * shards, [=](int64_t row) {
        int64_t id = targets[row] - firstId;
        out[row] = within(id, v) ? logits[row * v + id] - combine(statistics, shards, rows, row) : 0.f;
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
