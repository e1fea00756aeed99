// Kernels of mixtures of experts.
#include "kernels/kernels.h"
#include "support.h"

using namespace brazier;

CPU_NATIVE(void, softmax)(JNIEnv* env, jclass, jlong x, jlong y, jlong rows, jlong width) {
    REQUIRE(softmax, x, y)
    kernels().softmax(Address{x}, Address{y}, rows, width);
}

CPU_NATIVE(void, softmaxGrad)(JNIEnv* env, jclass, jlong x, jlong dy, jlong dx, jlong rows, jlong width) {
    REQUIRE(softmaxGrad, x, dy, dx)
    kernels().softmaxGrad(Address{x}, Address{dy}, Address{dx}, rows, width);
}

CPU_NATIVE(void, topK)
(JNIEnv* env, jclass, jlong p, jlong gates, jlong experts, jlong rows, jlong width, jint k, jboolean renormalise) {
    REQUIRE(topK, p, gates, experts)
    kernels().topK(Address{p}, Address{gates}, Address{experts}, rows, width, k, renormalise != 0);
}

CPU_NATIVE(void, topKGrad)
(JNIEnv* env, jclass, jlong p, jlong experts, jlong dgates, jlong dp, jlong rows, jlong width, jint k,
    jboolean renormalise) {
    REQUIRE(topKGrad, p, experts, dgates, dp)
    kernels().topKGrad(
        Address{p}, Address{experts}, Address{dgates}, Address{dp}, rows, width, k, renormalise != 0);
}

CPU_NATIVE(void, assignSlots)
(JNIEnv* env, jclass, jlong experts, jlong slots, jlong counts, jlong dropped, jlong rows, jint k, jint numExperts,
    jlong capacity) {
    REQUIRE(assignSlots, experts, slots, counts, dropped)
    kernels().assignSlots(
        Address{experts}, Address{slots}, Address{counts}, Address{dropped}, rows, k, numExperts, capacity);
}

CPU_NATIVE(void, loadBalance)
(JNIEnv* env, jclass, jlong p, jlong counts, jlong loss, jlong rows, jlong width, jfloat scale) {
    REQUIRE(loadBalance, p, counts, loss)
    kernels().loadBalance(Address{p}, Address{counts}, Address{loss}, rows, width, scale);
}

CPU_NATIVE(void, loadBalanceGrad)
(JNIEnv* env, jclass, jlong counts, jlong dloss, jlong dp, jlong rows, jlong width, jfloat scale) {
    REQUIRE(loadBalanceGrad, counts, dloss, dp)
    kernels().loadBalanceGrad(Address{counts}, Address{dloss}, Address{dp}, rows, width, scale);
}

CPU_NATIVE(void, dispatchTokens)
(JNIEnv* env, jclass, jlong x, jlong slots, jlong gates, jlong buffer, jlong scratch, jlong rows, jint k,
    jlong numSlots, jlong width) {
    REQUIRE(dispatchTokens, x, slots, buffer, scratch)
    kernels().dispatchTokens(
        Address{x}, Address{slots}, Address{gates}, Address{buffer}, Address{scratch}, rows, k, numSlots, width);
}

CPU_NATIVE(void, combineTokens)
(JNIEnv* env, jclass, jlong buffer, jlong slots, jlong gates, jlong y, jlong rows, jint k, jlong width) {
    REQUIRE(combineTokens, buffer, slots, y)
    kernels().combineTokens(Address{buffer}, Address{slots}, Address{gates}, Address{y}, rows, k, width);
}

CPU_NATIVE(void, gatesGrad)
(JNIEnv* env, jclass, jlong x, jlong buffer, jlong slots, jlong dots, jlong rows, jint k, jlong width) {
    REQUIRE(gatesGrad, x, buffer, slots, dots)
    kernels().gatesGrad(Address{x}, Address{buffer}, Address{slots}, Address{dots}, rows, k, width);
}
