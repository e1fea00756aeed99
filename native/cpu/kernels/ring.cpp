// Attention of a rank's queries to blocks of keys and values that go round a ring of ranks, and its gradient. A block kv
// is [B, T, 2 Hkv K], keys before values. Queries from `firstQuery` on see the first `numKeys` keys. A task is one (row
// of the batch, key head); it walks strips of scores [ROWS, numKeys].
#include "kernels.h"
#include "parallel.h"
#include "scores.h"

namespace brazier {
namespace BRAZIER_ISA {

// Where a task's operands start and how far apart their tokens lie.
struct BlockTask {
    int64_t row, keyHead, perKey, qStride, kvStride, outStride;
    int64_t kOffset, vOffset;

    __attribute__((always_inline)) BlockTask(const Heads& s, int64_t index)
        : row(index / s.hkv),
          keyHead(index % s.hkv),
          perKey(s.h / s.hkv),
          qStride((s.h + 2 * s.hkv) * s.k),
          kvStride(2 * s.hkv * s.k),
          outStride(s.h * s.k),
          kOffset(row * s.t * kvStride + keyHead * s.k),
          vOffset(kOffset + s.hkv * s.k) {}
};

INLINE int64_t touchedFloats(const Heads& s, int64_t queries, int64_t keys) {
    return s.b * (s.h * queries * (keys + 4 * s.k) + 2 * s.hkv * keys * s.k);
}

// kv = the columns of qkv behind the queries.
void packKeyValues(const float* qkv, float* kv, Heads s) {
    const int64_t width = 2 * s.hkv * s.k, queries = s.h * s.k, rows = s.b * s.t;
    parallelChunks(rows, most(1, GRAIN / width), [=](int64_t begin, int64_t end) {
        gather(qkv + begin * (queries + width) + queries, queries + width, end - begin, width, kv + begin * width);
    });
}

INLINE void addRow(float* to, const float* from, int64_t count) {
    vectorLoop(
        0, count, [=](int64_t x) { store(to + x, load(to + x) + load(from + x)); },
        [=](int64_t x, int64_t n) { storePartial(to + x, loadPartial(to + x, n) + loadPartial(from + x, n), n); });
}

// dqkv += (dq, dkv) column by column.
void joinGradients(float* dqkv, const float* dq, const float* dkv, Heads s) {
    const int64_t width = 2 * s.hkv * s.k, queries = s.h * s.k;
    parallelChunks(s.b * s.t, most(1, GRAIN / (queries + width)), [=](int64_t begin, int64_t end) {
        for (int64_t r = begin; r < end; r++) {
            float* row = dqkv + r * (queries + width);
            addRow(row, dq + r * queries, queries);
            addRow(row + queries, dkv + r * width, width);
        }
    });
}

// One thread's scratch: keys transposed, values, a strip of scores, a strip of outputs.
int64_t attentionBlockScratchFloats(Heads s, int64_t numKeys) {
    return scoreStride(numKeys) * (2 * s.k + ROWS) + ROWS * s.k;
}

// One thread's scratch: keys, both transposed, dk, dv, two strips of scores.
int64_t attentionBlockGradScratchFloats(Heads s, int64_t numKeys) {
    return scoreStride(numKeys) * (5 * s.k + 2 * ROWS);
}

// to = a to + b from.
INLINE void blendRow(float* to, float a, const float* from, float b, int64_t count) {
    for (int64_t i = 0; i < count; i++) {
        to[i] = a * to[i] + b * from[i];
    }
}

// Merges softmax(scale q k^T) v over the block into o and lse, which hold the same over the keys seen before.
void attentionBlock(const float* qkv, const float* kv, float* o, float* lse, float* scratch, Heads s,
    int64_t firstQuery, int64_t numKeys, float scale) {
    const int64_t scores = scoreStride(numKeys), padded = roundUp(numKeys, LANES);
    const int64_t own = attentionBlockScratchFloats(s, numKeys);
    parallelFor(s.b * s.hkv, touchedFloats(s, s.t - firstQuery, numKeys), [=](int64_t index) {
        BlockTask task(s, index);
        float* keys = scratch + omp_get_thread_num() * own;
        float *values = keys + scores * s.k, *strip = values + scores * s.k, *found = strip + ROWS * scores;
        transpose(kv + task.kOffset, task.kvStride, numKeys, s.k, keys, scores, padded);
        gather(kv + task.vOffset, task.kvStride, numKeys, s.k, values);
        for (int64_t head = task.keyHead * task.perKey; head < (task.keyHead + 1) * task.perKey; head++) {
            float* sums = lse + (task.row * s.h + head) * s.t;
            for (int64_t from = firstQuery; from < s.t; from += ROWS) {
                int64_t rows = least(ROWS, s.t - from), token = task.row * s.t + from;
                const float* q = qkv + token * task.qStride + head * s.k;
                float* out = o + token * task.outStride + head * s.k;
                multiply(rows, padded, s.k, {q, task.qStride, 1}, keys, scores, strip, scores, false);
                float kept[ROWS], taken[ROWS];
                for (int64_t r = 0; r < rows; r++) {
                    float top, old = sums[from + r];
                    float block = logf(softmaxRow(strip + r * scores, numKeys, padded, scale, &top)) + top;
                    float merged = fmaxf(old, block) + log1pf(expf(-fabsf(old - block)));
                    kept[r] = expf(old - merged);
                    taken[r] = expf(top - merged);
                    sums[from + r] = merged;
                }
                multiply(rows, s.k, numKeys, {strip, scores, 1}, values, s.k, found, s.k, false);
                for (int64_t r = 0; r < rows; r++) {
                    blendRow(out + r * task.outStride, kept[r], found + r * s.k, taken[r], s.k);
                }
            }
        }
    });
}

// With p = exp(scale q k^T - lse) and delta = rowsum(dO o) of the whole sequence: dv = p^T dO, dS = p (dO v^T - delta)
// scale, dk = dS^T q, dq (+)= dS k. Writes all of dkv, and without `accumulate` all of dq: zeros where nothing is seen.
void attentionBlockGrad(const float* qkv, const float* kv, const float* o, const float* lse, const float* gradO,
    float* dq, float* dkv, float* scratch, Heads s, int64_t firstQuery, int64_t numKeys, float scale, bool accumulate) {
    const int64_t scores = scoreStride(numKeys), padded = roundUp(numKeys, LANES), copy = scores * s.k;
    const int64_t own = attentionBlockGradScratchFloats(s, numKeys);
    parallelFor(s.b * s.hkv, 2 * touchedFloats(s, s.t - firstQuery, numKeys), [=](int64_t index) {
        BlockTask task(s, index);
        float* keys = scratch + omp_get_thread_num() * own;
        float *keysT = keys + copy, *valuesT = keysT + copy, *dk = valuesT + copy, *dv = dk + copy;
        float *p = dv + copy, *dp = p + ROWS * scores;
        gather(kv + task.kOffset, task.kvStride, numKeys, s.k, keys);
        transpose(kv + task.kOffset, task.kvStride, numKeys, s.k, keysT, scores, padded);
        transpose(kv + task.vOffset, task.kvStride, numKeys, s.k, valuesT, scores, padded);
        std::memset(dk, 0, 2 * copy * sizeof(float));
        for (int64_t head = task.keyHead * task.perKey; head < (task.keyHead + 1) * task.perKey; head++) {
            int64_t outOffset = task.row * s.t * task.outStride + head * s.k;
            const float* sums = lse + (task.row * s.h + head) * s.t;
            for (int64_t t = 0; !accumulate && t < firstQuery; t++) {
                std::memset(dq + outOffset + t * task.outStride, 0, s.k * sizeof(float));
            }
            for (int64_t from = firstQuery; from < s.t; from += ROWS) {
                int64_t rows = least(ROWS, s.t - from), outAt = outOffset + from * task.outStride;
                const float* q = qkv + (task.row * s.t + from) * task.qStride + head * s.k;
                const float *out = o + outAt, *dOut = gradO + outAt;
                multiply(rows, padded, s.k, {q, task.qStride, 1}, keysT, scores, p, scores, false);
                multiply(rows, padded, s.k, {dOut, task.outStride, 1}, valuesT, scores, dp, scores, false);
                for (int64_t r = 0; r < rows; r++) {
                    float delta = dot(out + r * task.outStride, dOut + r * task.outStride, s.k);
                    gradientRow(p + r * scores, dp + r * scores, numKeys, padded, scale, sums[from + r], delta);
                }
                multiply(numKeys, s.k, rows, {p, 1, scores}, dOut, task.outStride, dv, s.k, true);
                multiply(numKeys, s.k, rows, {dp, 1, scores}, q, task.qStride, dk, s.k, true);
                multiply(rows, s.k, numKeys, {dp, scores, 1}, keys, s.k, dq + outAt, task.outStride, accumulate);
            }
        }
        scatter(dk, numKeys, s.k, dkv + task.kOffset, task.kvStride);
        scatter(dv, numKeys, s.k, dkv + task.vOffset, task.kvStride);
        for (int64_t t = numKeys; t < s.t; t++) {
            std::memset(dkv + task.kOffset + t * task.kvStride, 0, s.k * sizeof(float));
            std::memset(dkv + task.vOffset + t * task.kvStride, 0, s.k * sizeof(float));
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
