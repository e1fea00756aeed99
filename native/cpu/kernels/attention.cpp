// Causal multi-head attention and its gradient (grouped queries allowed). A task is one (row of the batch, key head); it
// walks blocks of query rows and holds one strip of scores [ROWS, T] at a time, cut off at the diagonal.
#include <math.h>

#include "kernels.h"
#include "parallel.h"
#include "scores.h"

namespace brazier {
namespace BRAZIER_ISA {

// Where a task's operands start and how far apart their tokens lie.
struct Task {
    int64_t row, keyHead, perKey, stride, outStride;
    int64_t qOffset, kOffset, vOffset;

    __attribute__((always_inline)) Task(const Heads& s, int64_t index)
        : row(index / s.hkv),
          keyHead(index % s.hkv),
          perKey(s.h / s.hkv),
          stride((s.h + 2 * s.hkv) * s.k),
          outStride(s.h * s.k),
          qOffset(row * s.t * stride),
          kOffset(qOffset + (s.h + keyHead) * s.k),
          vOffset(kOffset + s.hkv * s.k) {}
};

INLINE int64_t scoreStride(const Heads& s) {
    return scoreStride(s.t);
}

// One thread's scratch: `copies` of a head's [T, K] (plain or transposed) and `strips` of scores.
INLINE int64_t floatsPerThread(const Heads& s, int64_t copies, int64_t strips) {
    return scoreStride(s) * (copies * s.k + strips * ROWS);
}

int64_t attentionScratchFloats(Heads s) {
    return floatsPerThread(s, 2, 1);
}

int64_t attentionGradScratchFloats(Heads s) {
    return floatsPerThread(s, 5, 2);
}

INLINE int64_t touchedFloats(const Heads& s) {
    return s.b * s.h * s.t * (s.t + 4 * s.k);
}

// o = softmax(scale q k^T, causal) v; lse[B, H, T] = log of each row's sum of exp(scale q k^T).
void attention(const float* qkv, float* o, float* lse, float* scratch, Heads s, float scale) {
    const int64_t scores = scoreStride(s), own = attentionScratchFloats(s), copy = scores * s.k;
    parallelFor(s.b * s.hkv, touchedFloats(s), [=](int64_t index) {
        Task task(s, index);
        float* keys = scratch + omp_get_thread_num() * own;
        float *values = keys + copy, *strip = values + copy;
        transpose(qkv + task.kOffset, task.stride, s.t, s.k, keys, scores, roundUp(s.t, LANES));
        gather(qkv + task.vOffset, task.stride, s.t, s.k, values);
        for (int64_t x = 0; x < task.perKey; x++) {
            int64_t head = task.keyHead * task.perKey + x;
            const float* q = qkv + task.qOffset + head * s.k;
            float* out = o + task.row * s.t * task.outStride + head * s.k;
            float* sums = lse + (task.row * s.h + head) * s.t;
            for (int64_t from = 0; from < s.t; from += ROWS) {
                int64_t rows = least(ROWS, s.t - from), seen = from + rows, padded = roundUp(seen, LANES);
                float* block = out + from * task.outStride;
                multiply(rows, padded, s.k, {q + from * task.stride, task.stride, 1}, keys, scores, strip, scores, false);
                float factors[ROWS];
                for (int64_t r = 0; r < rows; r++) {
                    float top;
                    float total = softmaxRow(strip + r * scores, from + r + 1, padded, scale, &top);
                    sums[from + r] = top + logf(total);
                    factors[r] = 1.f / total;
                }
                multiply(rows, s.k, seen, {strip, scores, 1}, values, s.k, block, task.outStride, false);
                for (int64_t r = 0; r < rows; r++) {
                    scaleRow(block + r * task.outStride, s.k, factors[r]);
                }
            }
        }
    });
}

// With p recomputed from lse and delta = rowsum(dO o): dv = p^T dO, dS = p (dO v^T - delta) scale, dq = dS k, dk = dS^T q.
void attentionGrad(const float* qkv, const float* o, const float* lse, const float* gradO, float* dqkv, float* scratch,
    Heads s, float scale) {
    const int64_t scores = scoreStride(s), own = attentionGradScratchFloats(s), copy = scores * s.k;
    parallelFor(s.b * s.hkv, 2 * touchedFloats(s), [=](int64_t index) {
        Task task(s, index);
        float* keys = scratch + omp_get_thread_num() * own;
        float *keysT = keys + copy, *valuesT = keysT + copy, *dk = valuesT + copy, *dv = dk + copy;
        float *p = dv + copy, *dp = p + ROWS * scores;
        gather(qkv + task.kOffset, task.stride, s.t, s.k, keys);
        transpose(qkv + task.kOffset, task.stride, s.t, s.k, keysT, scores, roundUp(s.t, LANES));
        transpose(qkv + task.vOffset, task.stride, s.t, s.k, valuesT, scores, roundUp(s.t, LANES));
        std::memset(dk, 0, 2 * copy * sizeof(float));
        for (int64_t x = 0; x < task.perKey; x++) {
            int64_t head = task.keyHead * task.perKey + x;
            int64_t outOffset = task.row * s.t * task.outStride + head * s.k;
            const float* sums = lse + (task.row * s.h + head) * s.t;
            for (int64_t from = 0; from < s.t; from += ROWS) {
                int64_t rows = least(ROWS, s.t - from), seen = from + rows, padded = roundUp(seen, LANES);
                int64_t at = task.qOffset + head * s.k + from * task.stride;
                int64_t outAt = outOffset + from * task.outStride;
                const float *q = qkv + at, *out = o + outAt, *dOut = gradO + outAt;
                multiply(rows, padded, s.k, {q, task.stride, 1}, keysT, scores, p, scores, false);
                multiply(rows, padded, s.k, {dOut, task.outStride, 1}, valuesT, scores, dp, scores, false);
                for (int64_t r = 0; r < rows; r++) {
                    float delta = dot(out + r * task.outStride, dOut + r * task.outStride, s.k);
                    gradientRow(p + r * scores, dp + r * scores, from + r + 1, padded, scale, sums[from + r], delta);
                }
                multiply(seen, s.k, rows, {p, 1, scores}, dOut, task.outStride, dv, s.k, true);
                multiply(seen, s.k, rows, {dp, 1, scores}, q, task.stride, dk, s.k, true);
                multiply(rows, s.k, seen, {dp, scores, 1}, keys, s.k, dqkv + at, task.stride, false);
            }
        }
        scatter(dk, s.t, s.k, dqkv + task.kOffset, task.stride);
        scatter(dv, s.t, s.k, dqkv + task.vOffset, task.stride);
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
