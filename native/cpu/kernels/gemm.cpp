// y[M,N] = act(op(x)[M,K] w[K,N] + bias + addend) for a w that is not transposed, by packed panels and one register tile
// (Goto and van de Geijn, "Anatomy of High-Performance Matrix Multiplication", 2008). Sums run over K in an order that
// neither the number of threads nor the position of a tile changes.
#include "gelu.h"
#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

constexpr int64_t MR = LANES == 16 ? 12 : 6;
constexpr int64_t NR = 2 * LANES;
constexpr int64_t MC = 10 * MR;
constexpr int64_t NC = 96 * LANES;
constexpr int64_t KC = 512;

static int64_t depthBlock(int64_t k) {
    int64_t blocks = (k + KC - 1) / KC;
    return roundUp((k + blocks - 1) / blocks, 8);
}

// One thread's copies of a block of x and a block of w.
INLINE int64_t packedWeightFloats(const Gemm& g) {
    return least(NC, roundUp(g.n, NR)) * depthBlock(g.k);
}

INLINE int64_t packedFloats(const Gemm& g) {
    return MC * KC + packedWeightFloats(g);
}

int64_t gemmScratchFloats(Gemm g, int64_t numThreads) {
    return numThreads * packedFloats(g);
}

// out[k][MR] of x stored [K, M].
INLINE void packColumns(const float* x, int64_t stride, int64_t rows, int64_t depth, float* out) {
    if (rows == MR) {
        for (int64_t k = 0; k < depth; k++) {
            std::memcpy(out + k * MR, x + k * stride, MR * sizeof(float));
        }
        return;
    }
    for (int64_t k = 0; k < depth; k++) {
        for (int64_t r = 0; r < MR; r++) {
            out[k * MR + r] = r < rows ? x[k * stride + r] : 0.f;
        }
    }
}

// out[MR][KC] of x stored [M, K].
INLINE void packRows(const float* x, int64_t stride, int64_t rows, int64_t depth, float* out) {
    for (int64_t r = 0; r < MR; r++) {
        if (r < rows) {
            std::memcpy(out + r * KC, x + r * stride, depth * sizeof(float));
        } else {
            std::memset(out + r * KC, 0, depth * sizeof(float));
        }
    }
}

// out[k][NR] of w stored [K, N].
INLINE void packWeights(const float* w, int64_t stride, int64_t columns, int64_t depth, float* out) {
    for (int64_t k = 0; k < depth; k++) {
        if (columns == NR) {
            store(out + k * NR, load(w + k * stride));
            store(out + k * NR + LANES, load(w + k * stride + LANES));
        } else {
            for (int64_t c = 0; c < NR; c++) {
                out[k * NR + c] = c < columns ? w[k * stride + c] : 0.f;
            }
        }
    }
}

// What happens to a tile of sums: start from bias and addend (each may be nullptr), end with the activation.
struct Epilogue {
    const float* bias;
    const float* addend;
    int64_t addendStride;
    bool gelu;
};

// y[MR, NR] = epilogue(a b); COLUMNS: a is [k][MR], else [MR][KC].
template <bool COLUMNS>
static void gemmTile(int64_t depth, const float* a, const float* b, float* y, int64_t stride, Epilogue e) {
    for (int64_t r = 0; r < MR; r++) {
        __builtin_prefetch(y + r * stride, 1);
        __builtin_prefetch(y + r * stride + NR - 1, 1);
    }
    Vec sums[MR][2] = {};
    for (int64_t k = 0; k < depth; k++) {
        Vec b0 = load(b + k * NR), b1 = load(b + k * NR + LANES);
#pragma GCC unroll 16
        for (int64_t r = 0; r < MR; r++) {
            float factor = COLUMNS ? a[k * MR + r] : a[r * KC + k];
            sums[r][0] += b0 * factor;
            sums[r][1] += b1 * factor;
        }
    }
    Vec bias0{}, bias1{};
    if (e.bias != nullptr) {
        bias0 = load(e.bias), bias1 = load(e.bias + LANES);
    }
    if (e.addend != nullptr) {
#pragma GCC unroll 16
        for (int64_t r = 0; r < MR; r++) {
            sums[r][0] += load(e.addend + r * e.addendStride);
            sums[r][1] += load(e.addend + r * e.addendStride + LANES);
        }
    }
#pragma GCC unroll 16
    for (int64_t r = 0; r < MR; r++) {
        store(y + r * stride, sums[r][0] + bias0);
        store(y + r * stride + LANES, sums[r][1] + bias1);
    }
    if (e.gelu) {
        for (int64_t r = 0; r < MR; r++) {
            store(y + r * stride, geluOf(load(y + r * stride)));
            store(y + r * stride + LANES, geluOf(load(y + r * stride + LANES)));
        }
    }
}

// A tile that sticks out of y goes through a copy.
template <bool COLUMNS>
static void edgeTile(int64_t depth, const float* a, const float* b, float* y, int64_t stride, Epilogue e, int64_t rows,
    int64_t columns) {
    alignas(64) float tile[MR * NR];
    alignas(64) float bias[NR] = {}, addend[MR * NR] = {};
    Epilogue whole{nullptr, nullptr, NR, e.gelu};
    if (e.bias != nullptr) {
        std::memcpy(bias, e.bias, columns * sizeof(float));
        whole.bias = bias;
    }
    if (e.addend != nullptr) {
        for (int64_t r = 0; r < rows; r++) {
            std::memcpy(addend + r * NR, e.addend + r * e.addendStride, columns * sizeof(float));
        }
        whole.addend = addend;
    }
    gemmTile<COLUMNS>(depth, a, b, tile, NR, whole);
    for (int64_t r = 0; r < rows; r++) {
        std::memcpy(y + r * stride, tile + r * NR, columns * sizeof(float));
    }
}

// Rows [m0, m1) and columns [n0, n1) of y.
template <bool COLUMNS>
static void gemmPart(const Gemm& g, int64_t m0, int64_t m1, int64_t n0, int64_t n1, float* scratch) {
    float *packedX = scratch, *packedW = scratch + MC * KC;
    int64_t block = depthBlock(g.k);
    for (int64_t nb = n0; nb < n1; nb += NC) {
        int64_t nEnd = least(n1, nb + NC);
        for (int64_t kb = 0; kb < g.k; kb += block) {
            int64_t depth = least(block, g.k - kb);
            bool first = kb == 0, last = kb + depth == g.k;
            for (int64_t n = nb; n < nEnd; n += NR) {
                packWeights(g.w + kb * g.n + n, g.n, least(NR, nEnd - n), depth, packedW + (n - nb) * depth);
            }
            for (int64_t mb = m0; mb < m1; mb += MC) {
                int64_t mEnd = least(m1, mb + MC);
                for (int64_t m = mb; m < mEnd; m += MR) {
                    int64_t rows = least(MR, mEnd - m);
                    if (COLUMNS) {
                        packColumns(g.x + kb * g.m + m, g.m, rows, depth, packedX + (m - mb) * KC);
                    } else {
                        packRows(g.x + m * g.k + kb, g.k, rows, depth, packedX + (m - mb) * KC);
                    }
                }
                for (int64_t n = nb; n < nEnd; n += NR) {
                    for (int64_t m = mb; m < mEnd; m += MR) {
                        int64_t rows = least(MR, mEnd - m), columns = least(NR, nEnd - n);
                        float* y = g.y + m * g.n + n;
                        const float* a = packedX + (m - mb) * KC;
                        const float* b = packedW + (n - nb) * depth;
                        const float* addend = !first ? y : g.addend == nullptr ? nullptr : g.addend + m * g.n + n;
                        Epilogue e{first && g.bias != nullptr ? g.bias + n : nullptr, addend, g.n, last && g.gelu};
                        if (rows == MR && columns == NR) {
                            gemmTile<COLUMNS>(depth, a, b, y, g.n, e);
                        } else {
                            edgeTile<COLUMNS>(depth, a, b, y, g.n, e, rows, columns);
                        }
                    }
                }
            }
        }
    }
}

void gemm(Gemm g, int64_t numThreads, float* scratch) {
    // Threads share out the longer side of y: the operand that all of them pack is then the smaller one.
    bool byColumns = g.n >= g.m;
    int64_t tiles = byColumns ? (g.n + NR - 1) / NR : (g.m + MR - 1) / MR;
    int64_t size = byColumns ? NR : MR, end = byColumns ? g.n : g.m;
    // A quarter of a million multiply-adds take as long as waking a thread.
    int64_t team = most(1, least(least(numThreads, tiles), g.m * g.n * g.k >> 18));
    parallelFor(team, team * GRAIN, [=](int64_t part) {
        int64_t from = least(end, part * tiles / team * size), to = least(end, (part + 1) * tiles / team * size);
        int64_t m0 = byColumns ? 0 : from, m1 = byColumns ? g.m : to;
        int64_t n0 = byColumns ? from : 0, n1 = byColumns ? to : g.n;
        float* own = scratch + part * packedFloats(g);
        if (g.transposeX) {
            gemmPart<true>(g, m0, m1, n0, n1, own);
        } else {
            gemmPart<false>(g, m0, m1, n0, n1, own);
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
