// One line per kernel: refuse absent operands, then call the instance chosen at load.
#include "kernels/kernels.h"

#include <vector>

#include "support.h"

using namespace brazier;

CPU_NATIVE(void, fill)(JNIEnv* env, jclass, jlong dst, jlong count, jfloat value) {
    REQUIRE(fill, dst)
    kernels().fill(Address{dst}, count, value);
}

CPU_NATIVE(void, gelu)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(gelu, x, y)
    kernels().gelu(Address{x}, Address{y}, count);
}

CPU_NATIVE(void, geluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong count) {
    REQUIRE(geluGrad, x, dy, dx)
    kernels().geluGrad(Address{x}, Address{dy}, Address{dx}, count);
}

CPU_NATIVE(void, erfGelu)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(erfGelu, x, y)
    kernels().erfGelu(Address{x}, Address{y}, count);
}

CPU_NATIVE(void, erfGeluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong count) {
    REQUIRE(erfGeluGrad, x, dy, dx)
    kernels().erfGeluGrad(Address{x}, Address{dy}, Address{dx}, count);
}

CPU_NATIVE(void, relu)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(relu, x, y)
    kernels().relu(Address{x}, Address{y}, count);
}

CPU_NATIVE(void, reluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong count) {
    REQUIRE(reluGrad, x, dy, dx)
    kernels().reluGrad(Address{x}, Address{dy}, Address{dx}, count);
}

CPU_NATIVE(void, silu)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(silu, x, y)
    kernels().silu(Address{x}, Address{y}, count);
}

CPU_NATIVE(void, siluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong count) {
    REQUIRE(siluGrad, x, dy, dx)
    kernels().siluGrad(Address{x}, Address{dy}, Address{dx}, count);
}

CPU_NATIVE(void, gatedGelu)(JNIEnv* env, jclass, jlong x, jlong y, jlong rows, jlong width) {
    REQUIRE(gatedGelu, x, y)
    kernels().gatedGelu(Address{x}, Address{y}, rows, width);
}

CPU_NATIVE(void, gatedGeluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong rows, jlong width) {
    REQUIRE(gatedGeluGrad, x, dy, dx)
    kernels().gatedGeluGrad(Address{x}, Address{dy}, Address{dx}, rows, width);
}

CPU_NATIVE(void, gatedSilu)(JNIEnv* env, jclass, jlong x, jlong y, jlong rows, jlong width) {
    REQUIRE(gatedSilu, x, y)
    kernels().gatedSilu(Address{x}, Address{y}, rows, width);
}

CPU_NATIVE(void, gatedSiluGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong rows, jlong width) {
    REQUIRE(gatedSiluGrad, x, dy, dx)
    kernels().gatedSiluGrad(Address{x}, Address{dy}, Address{dx}, rows, width);
}

CPU_NATIVE(void, add)(JNIEnv* env, jclass, jlong a, jlong b, jlong y, jlong count) {
    REQUIRE(add, a, b, y)
    kernels().add(Address{a}, Address{b}, Address{y}, count);
}

CPU_NATIVE(void, addInto)(JNIEnv* env, jclass, jlong dst, jlong src, jlong count) {
    REQUIRE(addInto, dst, src)
    kernels().add(Address{dst}, Address{src}, Address{dst}, count);
}

CPU_NATIVE(void, scale)(JNIEnv* env, jclass, jlong x, jlong y, jlong count, jfloat factor) {
    REQUIRE(scale, x, y)
    kernels().scale(Address{x}, Address{y}, count, factor);
}

CPU_NATIVE(void, sumRows)(JNIEnv* env, jclass, jlong x, jlong addend, jlong y, jlong rows, jlong width) {
    REQUIRE(sumRows, x, y)
    kernels().sumRows(Address{x}, Address{addend}, Address{y}, rows, width);
}

CPU_NATIVE(void, dropout)
(JNIEnv* env, jclass, jlong x, jlong y, jlong count, jfloat rate, jlong rng, jlong rowOffset, jlong streamId,
    jlong rowWidth) {
    REQUIRE(dropout, x, y, rng)
    kernels().dropout(Address{x}, Address{y}, count, rate, Address{rng}, rowOffset, streamId, rowWidth);
}

CPU_NATIVE(void, addBias)
(JNIEnv* env, jclass, jlong x, jlong bias, jlong addend, jlong y, jlong rows, jlong width) {
    REQUIRE(addBias, x, bias, y)
    kernels().addBias(Address{x}, Address{bias}, Address{addend}, Address{y}, rows, width);
}

CPU_NATIVE(jboolean, allFinite)(JNIEnv* env, jclass, jlong x, jlong count) {
    return refuseNull(env, "allFinite", {x}) ? JNI_FALSE : static_cast<jboolean>(kernels().allFinite(Address{x}, count));
}

CPU_NATIVE(void, layerNorm)
(JNIEnv* env, jclass, jlong x, jlong gamma, jlong beta, jlong y, jlong mean, jlong rstd, jlong rows, jlong width,
    jfloat eps) {
    REQUIRE(layerNorm, x, gamma, beta, y, mean, rstd)
    kernels().layerNorm(
        Address{x}, Address{gamma}, Address{beta}, Address{y}, Address{mean}, Address{rstd}, rows, width, eps);
}

CPU_NATIVE(void, layerNormGradInput)
(JNIEnv* env, jclass, jlong x, jlong dy, jlong gamma, jlong mean, jlong rstd, jlong addend, jlong dx, jlong rows,
    jlong width) {
    REQUIRE(layerNormGradInput, x, dy, gamma, mean, rstd, dx)
    kernels().layerNormGradInput(Address{x}, Address{dy}, Address{gamma}, Address{mean}, Address{rstd}, Address{addend},
        Address{dx}, rows, width);
}

CPU_NATIVE(void, layerNormGradParameters)
(JNIEnv* env, jclass, jlong x, jlong dy, jlong mean, jlong rstd, jlong addendGamma, jlong addendBeta, jlong dgamma,
    jlong dbeta, jlong rows, jlong width) {
    REQUIRE(layerNormGradParameters, x, dy, mean, rstd, dgamma, dbeta)
    kernels().layerNormGradParameters(Address{x}, Address{dy}, Address{mean}, Address{rstd}, Address{addendGamma},
        Address{addendBeta}, Address{dgamma}, Address{dbeta}, rows, width);
}

CPU_NATIVE(void, rmsNorm)
(JNIEnv* env, jclass, jlong x, jlong gamma, jlong y, jlong rstd, jlong rows, jlong width, jfloat eps) {
    REQUIRE(rmsNorm, x, gamma, y, rstd)
    kernels().rmsNorm(Address{x}, Address{gamma}, Address{y}, Address{rstd}, rows, width, eps);
}

CPU_NATIVE(void, rmsNormGradInput)
(JNIEnv* env, jclass, jlong x, jlong dy, jlong gamma, jlong rstd, jlong addend, jlong dx, jlong rows, jlong width) {
    REQUIRE(rmsNormGradInput, x, dy, gamma, rstd, dx)
    kernels().rmsNormGradInput(
        Address{x}, Address{dy}, Address{gamma}, Address{rstd}, Address{addend}, Address{dx}, rows, width);
}

CPU_NATIVE(void, rmsNormGradParameters)
(JNIEnv* env, jclass, jlong x, jlong dy, jlong rstd, jlong addend, jlong dgamma, jlong rows, jlong width) {
    REQUIRE(rmsNormGradParameters, x, dy, rstd, dgamma)
    kernels().rmsNormGradParameters(
        Address{x}, Address{dy}, Address{rstd}, Address{addend}, Address{dgamma}, rows, width);
}

CPU_NATIVE(void, rotary)
(JNIEnv* env, jclass, jlong x, jlong positions, jdoubleArray frequencies, jlong y, jlong rows, jlong heads, jlong width,
    jlong rowWidth, jboolean backwards) {
    REQUIRE(rotary, x, positions, y)
    // The kernel reads whole vectors, which have 16 lanes at most; 2/pi turns radians into quarter turns.
    std::vector<double> quarterTurns((width / 2 + 15) / 16 * 16);
    env->GetDoubleArrayRegion(frequencies, 0, static_cast<jsize>(width / 2), quarterTurns.data());
    if (env->ExceptionCheck()) {
        return;
    }
    for (double& turns : quarterTurns) {
        turns *= 0.63661977236758134308;
    }
    kernels().rotary(Address{x}, Address{positions}, quarterTurns.data(), Address{y}, rows, heads, width, rowWidth,
        backwards ? -1.f : 1.f);
}

CPU_NATIVE(jlong, attentionScratchBytes)
(JNIEnv*, jclass, jint b, jint t, jint h, jint hkv, jint k, jint maxThreads) {
    return 4 * maxThreads * kernels().attentionScratchFloats({b, t, h, hkv, k});
}

CPU_NATIVE(void, attention)
(JNIEnv* env, jclass, jlong qkv, jlong o, jlong lse, jlong scratch, jint b, jint t, jint h, jint hkv, jint k,
    jfloat scale) {
    REQUIRE(attention, qkv, o, lse, scratch)
    kernels().attention(Address{qkv}, Address{o}, Address{lse}, Address{scratch}, {b, t, h, hkv, k}, scale);
}

CPU_NATIVE(jlong, attentionGradScratchBytes)
(JNIEnv*, jclass, jint b, jint t, jint h, jint hkv, jint k, jint maxThreads) {
    return 4 * maxThreads * kernels().attentionGradScratchFloats({b, t, h, hkv, k});
}

CPU_NATIVE(void, attentionGrad)
(JNIEnv* env, jclass, jlong qkv, jlong o, jlong lse, jlong gradO, jlong dqkv, jlong scratch, jint b, jint t, jint h,
    jint hkv, jint k, jfloat scale) {
    REQUIRE(attentionGrad, qkv, o, lse, gradO, dqkv, scratch)
    kernels().attentionGrad(Address{qkv}, Address{o}, Address{lse}, Address{gradO}, Address{dqkv}, Address{scratch},
        {b, t, h, hkv, k}, scale);
}

CPU_NATIVE(void, cachedAttention)
(JNIEnv* env, jclass, jlong qkv, jlong cacheK, jlong cacheV, jlong starts, jlong o, jint b, jint t, jint h, jint hkv,
    jint k, jint maxT, jfloat scale) {
    REQUIRE(cachedAttention, qkv, cacheK, cacheV, starts, o)
    kernels().cachedAttention(Address{qkv}, Address{cacheK}, Address{cacheV}, Address{starts}, Address{o},
        {b, t, h, hkv, k}, maxT, scale);
}

CPU_NATIVE(void, crossEntropy)
(JNIEnv* env, jclass, jlong logits, jlong targets, jlong lse, jlong loss, jlong rows, jlong v, jfloat scale,
    jboolean accumulate) {
    REQUIRE(crossEntropy, logits, targets, lse, loss)
    kernels().crossEntropy(
        Address{logits}, Address{targets}, Address{lse}, Address{loss}, rows, v, scale, accumulate != 0);
}

CPU_NATIVE(void, crossEntropyGrad)
(JNIEnv* env, jclass, jlong logits, jlong lse, jlong targets, jlong dloss, jlong dlogits, jlong rows, jlong v,
    jlong firstId, jfloat scale) {
    REQUIRE(crossEntropyGrad, logits, lse, targets, dloss, dlogits)
    kernels().crossEntropyGrad(Address{logits}, Address{lse}, Address{targets}, Address{dloss}, Address{dlogits}, rows,
        v, firstId, scale);
}

CPU_NATIVE(void, rowLogSumExp)(JNIEnv* env, jclass, jlong logits, jlong out, jlong rows, jlong v) {
    REQUIRE(rowLogSumExp, logits, out)
    kernels().rowLogSumExp(Address{logits}, Address{out}, rows, v);
}

CPU_NATIVE(void, shardedCrossEntropy)
(JNIEnv* env, jclass, jlong logits, jlong statistics, jlong targets, jlong lse, jlong loss, jlong rows, jlong v,
    jlong shards, jlong firstId, jfloat scale) {
    REQUIRE(shardedCrossEntropy, logits, statistics, targets, lse, loss)
    kernels().shardedCrossEntropy(Address{logits}, Address{statistics}, Address{targets}, Address{lse}, Address{loss},
        rows, v, shards, firstId, scale);
}

CPU_NATIVE(void, shardedTokenLogLikelihood)
(JNIEnv* env, jclass, jlong logits, jlong statistics, jlong targets, jlong out, jlong rows, jlong v, jlong shards,
    jlong firstId) {
    REQUIRE(shardedTokenLogLikelihood, logits, statistics, targets, out)
    kernels().shardedTokenLogLikelihood(
        Address{logits}, Address{statistics}, Address{targets}, Address{out}, rows, v, shards, firstId);
}

CPU_NATIVE(void, tokenLogLikelihood)
(JNIEnv* env, jclass, jlong logits, jlong targets, jlong out, jlong rows, jlong v) {
    REQUIRE(tokenLogLikelihood, logits, targets, out)
    kernels().tokenLogLikelihood(Address{logits}, Address{targets}, Address{out}, rows, v);
}

CPU_NATIVE(void, embedding)
(JNIEnv* env, jclass, jlong tokens, jlong table, jlong addend, jlong y, jlong rows, jlong width, jlong vocabulary,
    jlong firstId) {
    REQUIRE(embedding, tokens, table, y)
    kernels().embedding(
        Address{tokens}, Address{table}, Address{addend}, Address{y}, rows, width, vocabulary, firstId);
}

CPU_NATIVE(void, embeddingGrad)
(JNIEnv* env, jclass, jlong tokens, jlong dy, jlong dtable, jlong rows, jlong width, jlong vocabulary, jlong firstId,
    jboolean accumulate) {
    REQUIRE(embeddingGrad, tokens, dy, dtable)
    kernels().embeddingGrad(
        Address{tokens}, Address{dy}, Address{dtable}, rows, width, vocabulary, firstId, accumulate != 0);
}

CPU_NATIVE(void, squaredSum)(JNIEnv* env, jclass, jlong x, jlong count, jdouble share, jlong out, jboolean accumulate) {
    REQUIRE(squaredSum, x, out)
    kernels().squaredSum(Address{x}, count, share, Address{out}, accumulate != 0);
}

CPU_NATIVE(void, adamw)
(JNIEnv* env, jclass, jlong param, jlong grad, jlong m, jlong v, jlong count, jlong scalars, jfloat weightDecay) {
    REQUIRE(adamw, param, grad, m, v, scalars)
    kernels().adamw(
        Address{param}, Address{grad}, Address{m}, Address{v}, count, Address{scalars}, weightDecay);
}
