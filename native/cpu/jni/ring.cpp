// The kernels of ring attention; see kernels.cpp.
#include "kernels/kernels.h"

#include "support.h"

using namespace brazier;

#define RING_NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_io_brazier_cpu_CpuRing_##name

RING_NATIVE(void, packKeyValues)
(JNIEnv* env, jclass, jlong qkv, jlong kv, jint b, jint t, jint h, jint hkv, jint k) {
    if (!refuseNull(env, "packKeyValues", {qkv, kv})) {
        kernels().packKeyValues(Address{qkv}, Address{kv}, {b, t, h, hkv, k});
    }
}

RING_NATIVE(void, joinGradients)
(JNIEnv* env, jclass, jlong dqkv, jlong dq, jlong dkv, jint b, jint t, jint h, jint hkv, jint k) {
    if (!refuseNull(env, "joinGradients", {dqkv, dq, dkv})) {
        kernels().joinGradients(Address{dqkv}, Address{dq}, Address{dkv}, {b, t, h, hkv, k});
    }
}

RING_NATIVE(jlong, attentionBlockScratchBytes)
(JNIEnv*, jclass, jint h, jint hkv, jint k, jlong numKeys, jint maxThreads) {
    return 4 * maxThreads * kernels().attentionBlockScratchFloats({1, numKeys, h, hkv, k}, numKeys);
}

RING_NATIVE(void, attentionBlock)
(JNIEnv* env, jclass, jlong qkv, jlong kv, jlong o, jlong lse, jlong scratch, jint b, jint t, jint h, jint hkv, jint k,
    jlong firstQuery, jlong numKeys, jfloat scale) {
    if (!refuseNull(env, "attentionBlock", {qkv, kv, o, lse, scratch})) {
        kernels().attentionBlock(Address{qkv}, Address{kv}, Address{o}, Address{lse}, Address{scratch},
            {b, t, h, hkv, k}, firstQuery, numKeys, scale);
    }
}

RING_NATIVE(jlong, attentionBlockGradScratchBytes)
(JNIEnv*, jclass, jint h, jint hkv, jint k, jlong numKeys, jint maxThreads) {
    return 4 * maxThreads * kernels().attentionBlockGradScratchFloats({1, numKeys, h, hkv, k}, numKeys);
}

RING_NATIVE(void, attentionBlockGrad)
(JNIEnv* env, jclass, jlong qkv, jlong kv, jlong o, jlong lse, jlong gradO, jlong dq, jlong dkv, jlong scratch, jint b,
    jint t, jint h, jint hkv, jint k, jlong firstQuery, jlong numKeys, jfloat scale, jboolean accumulate) {
    if (!refuseNull(env, "attentionBlockGrad", {qkv, kv, o, lse, gradO, dq, dkv, scratch})) {
        kernels().attentionBlockGrad(Address{qkv}, Address{kv}, Address{o}, Address{lse}, Address{gradO}, Address{dq},
            Address{dkv}, Address{scratch}, {b, t, h, hkv, k}, firstQuery, numKeys, scale, accumulate != 0);
    }
}
