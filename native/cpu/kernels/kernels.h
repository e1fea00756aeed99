// The kernels that are compiled once per instruction set. One list gives the declarations, the table of pointers and
// its instances. Numbers are f32 and row-major; an absent operand is nullptr. What each computes stands at its
// definition; shapes, aliasing and units are those of io.brazier.cpu.CpuNative.
#pragma once

#include <cstdint>

namespace brazier {

// Attention's shape: qkv is [b, t, (h + 2 hkv) k].
struct Heads {
    int64_t b, t, h, hkv, k;
};

// The operands of y[m,n] = act(op(x)[m,k] w[k,n] + bias[n] + addend[m,n]); x is stored [k,m] when transposeX.
struct Gemm {
    int64_t m, n, k;
    bool transposeX, gelu;
    const float *x, *w, *bias, *addend;
    float* y;
};

#define BRAZIER_KERNELS(K)                                                                                              \
    K(double, fmaFlops, (double seconds))                                                                               \
    K(int64_t, gemmScratchFloats, (Gemm gemm, int64_t numThreads))                                                      \
    K(void, gemm, (Gemm gemm, int64_t numThreads, float* scratch))                                                      \
    K(void, fill, (float* dst, int64_t count, float value))                                                             \
    K(void, gelu, (const float* x, float* y, int64_t count))                                                            \
    K(void, geluGrad, (const float* x, const float* dy, float* dx, int64_t count))                                      \
    K(void, erfGelu, (const float* x, float* y, int64_t count))                                                         \
    K(void, erfGeluGrad, (const float* x, const float* dy, float* dx, int64_t count))                                   \
    K(void, relu, (const float* x, float* y, int64_t count))                                                            \
    K(void, reluGrad, (const float* x, const float* dy, float* dx, int64_t count))                                      \
    K(void, silu, (const float* x, float* y, int64_t count))                                                            \
    K(void, siluGrad, (const float* x, const float* dy, float* dx, int64_t count))                                      \
    K(void, gatedGelu, (const float* x, float* y, int64_t rows, int64_t width))                                         \
    K(void, gatedGeluGrad, (const float* x, const float* dy, float* dx, int64_t rows, int64_t width))                   \
    K(void, gatedSilu, (const float* x, float* y, int64_t rows, int64_t width))                                         \
    K(void, gatedSiluGrad, (const float* x, const float* dy, float* dx, int64_t rows, int64_t width))                   \
    K(void, toBrainFloat, (const float* x, uint16_t* y, int64_t count))                                                 \
    K(void, fromBrainFloat, (const uint16_t* x, float* y, int64_t count))                                               \
    K(void, brainFloatRows,                                                                                             \
        (const int32_t* ids, const uint16_t* table, float* y, int64_t rows, int64_t width, int64_t vocabulary,          \
            int64_t firstId))                                                                                           \
    K(void, add, (const float* a, const float* b, float* y, int64_t count))                                             \
    K(void, scale, (const float* x, float* y, int64_t count, float factor))                                             \
    K(void, sumRows, (const float* x, const float* addend, float* y, int64_t rows, int64_t width))                      \
    K(void, dropout,                                                                                                    \
        (const float* x, float* y, int64_t count, float rate, const int64_t* rng, int64_t rowOffset, int64_t stream,     \
            int64_t rowWidth))                                                                                          \
    K(void, addBias,                                                                                                    \
        (const float* x, const float* bias, const float* addend, float* y, int64_t rows, int64_t width))                \
    K(bool, allFinite, (const float* x, int64_t count))                                                                 \
    K(void, layerNorm,                                                                                                  \
        (const float* x, const float* gamma, const float* beta, float* y, float* mean, float* rstd, int64_t rows,       \
            int64_t width, float eps))                                                                                  \
    K(void, layerNormGradInput,                                                                                         \
        (const float* x, const float* dy, const float* gamma, const float* mean, const float* rstd,                     \
            const float* addend, float* dx, int64_t rows, int64_t width))                                               \
    K(void, layerNormGradParameters,                                                                                    \
        (const float* x, const float* dy, const float* mean, const float* rstd, const float* addendGamma,               \
            const float* addendBeta, float* dgamma, float* dbeta, int64_t rows, int64_t width))                         \
    K(void, rmsNorm,                                                                                                    \
        (const float* x, const float* gamma, float* y, float* rstd, int64_t rows, int64_t width, float eps))            \
    K(void, rmsNormGradInput,                                                                                           \
        (const float* x, const float* dy, const float* gamma, const float* rstd, const float* addend, float* dx,        \
            int64_t rows, int64_t width))                                                                               \
    K(void, rmsNormGradParameters,                                                                                      \
        (const float* x, const float* dy, const float* rstd, const float* addend, float* dgamma, int64_t rows,          \
            int64_t width))                                                                                             \
    K(void, rotary,                                                                                                     \
        (const float* x, const int32_t* positions, const double* quarterTurns, float* y, int64_t rows, int64_t heads,   \
            int64_t width, int64_t rowWidth, float direction))                                                          \
    K(int64_t, attentionScratchFloats, (Heads heads))                                                                   \
    K(void, attention, (const float* qkv, float* o, float* lse, float* scratch, Heads heads, float scale))              \
    K(int64_t, attentionGradScratchFloats, (Heads heads))                                                               \
    K(void, attentionGrad,                                                                                              \
        (const float* qkv, const float* o, const float* lse, const float* gradO, float* dqkv, float* scratch,           \
            Heads heads, float scale))                                                                                  \
    K(void, cachedAttention,                                                                                            \
        (const float* qkv, float* cacheK, float* cacheV, const int32_t* starts, float* o, Heads heads, int64_t maxT,    \
            float scale))                                                                                               \
    K(void, packKeyValues, (const float* qkv, float* kv, Heads heads))                                                  \
    K(void, joinGradients, (float* dqkv, const float* dq, const float* dkv, Heads heads))                               \
    K(int64_t, attentionBlockScratchFloats, (Heads heads, int64_t numKeys))                                             \
    K(void, attentionBlock,                                                                                             \
        (const float* qkv, const float* kv, float* o, float* lse, float* scratch, Heads heads, int64_t firstQuery,      \
            int64_t numKeys, float scale))                                                                              \
    K(int64_t, attentionBlockGradScratchFloats, (Heads heads, int64_t numKeys))                                         \
    K(void, attentionBlockGrad,                                                                                         \
        (const float* qkv, const float* kv, const float* o, const float* lse, const float* gradO, float* dq,            \
            float* dkv, float* scratch, Heads heads, int64_t firstQuery, int64_t numKeys, float scale,                  \
            bool accumulate))                                                                                           \
    K(void, crossEntropy,                                                                                               \
        (const float* logits, const int32_t* targets, float* lse, float* loss, int64_t rows, int64_t v, float scale,    \
            bool accumulate))                                                                                           \
    K(void, crossEntropyGrad,                                                                                           \
        (const float* logits, const float* lse, const int32_t* targets, const float* dloss, float* dlogits,             \
            int64_t rows, int64_t v, int64_t firstId, float scale))                                                     \
    K(void, rowLogSumExp, (const float* logits, float* out, int64_t rows, int64_t v))                                   \
    K(void, shardedCrossEntropy,                                                                                        \
        (const float* logits, const float* statistics, const int32_t* targets, float* lse, float* loss, int64_t rows,   \
            int64_t v, int64_t shards, int64_t firstId, float scale))                                                   \
    K(void, shardedTokenLogLikelihood,                                                                                  \
        (const float* logits, const float* statistics, const int32_t* targets, float* out, int64_t rows, int64_t v,     \
            int64_t shards, int64_t firstId))                                                                           \
    K(void, tokenLogLikelihood,                                                                                         \
        (const float* logits, const int32_t* targets, float* out, int64_t rows, int64_t v))                             \
    K(void, embedding,                                                                                                  \
        (const int32_t* tokens, const float* table, const float* addend, float* y, int64_t rows, int64_t width,         \
            int64_t vocabulary, int64_t firstId))                                                                       \
    K(void, embeddingGrad,                                                                                              \
        (const int32_t* tokens, const float* dy, float* dtable, int64_t rows, int64_t width, int64_t vocabulary,        \
            int64_t firstId, bool accumulate))                                                                          \
    K(void, softmax, (const float* x, float* y, int64_t rows, int64_t width))                                           \
    K(void, softmaxGrad, (const float* x, const float* dy, float* dx, int64_t rows, int64_t width))                     \
    K(void, topK,                                                                                                       \
        (const float* p, float* gates, int32_t* experts, int64_t rows, int64_t width, int64_t k, bool renormalise))     \
    K(void, topKGrad,                                                                                                   \
        (const float* p, const int32_t* experts, const float* dgates, float* dp, int64_t rows, int64_t width, int64_t k,\
            bool renormalise))                                                                                          \
    K(void, assignSlots,                                                                                                \
        (const int32_t* experts, int32_t* slots, float* counts, float* dropped, int64_t rows, int64_t k,                \
            int64_t numExperts, int64_t capacity))                                                                      \
    K(void, loadBalance,                                                                                                \
        (const float* p, const float* counts, float* loss, int64_t rows, int64_t width, float scale))                   \
    K(void, loadBalanceGrad,                                                                                            \
        (const float* counts, const float* dloss, float* dp, int64_t rows, int64_t width, float scale))                 \
    K(void, dispatchTokens,                                                                                             \
        (const float* x, const int32_t* slots, const float* gates, float* buffer, int32_t* scratch, int64_t rows,       \
            int64_t k, int64_t numSlots, int64_t width))                                                                \
    K(void, combineTokens,                                                                                              \
        (const float* buffer, const int32_t* slots, const float* gates, float* y, int64_t rows, int64_t k,              \
            int64_t width))                                                                                             \
    K(void, gatesGrad,                                                                                                  \
        (const float* x, const float* buffer, const int32_t* slots, float* dots, int64_t rows, int64_t k,               \
            int64_t width))                                                                                             \
    K(void, squaredSum, (const float* x, int64_t count, double share, double* out, bool accumulate))                    \
    K(void, adamw,                                                                                                      \
        (float* param, const float* grad, float* m, float* v, int64_t count, const float* scalars, float weightDecay))

struct Kernels {
    const char* isa;
#define K(type, name, parameters) type(*name) parameters;
    BRAZIER_KERNELS(K)
#undef K
};

// The kernels of the best instruction set of this CPU, or of the one named by BRAZIER_CPU_ISA.
const Kernels& kernels();

namespace portable {
extern const Kernels table;
}
#ifdef __x86_64__
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

#ifdef BRAZIER_ISA
namespace BRAZIER_ISA {
#define K(type, name, parameters) type name parameters;
BRAZIER_KERNELS(K)
#undef K
}  // namespace BRAZIER_ISA
#endif

}  // namespace brazier
