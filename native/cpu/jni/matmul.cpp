#include "matmul.h"

#include <exception>

#include "support.h"

using namespace brazier;

static Matmul& matmulOf(jlong handle) {
    return *reinterpret_cast<Matmul*>(handle);
}

CPU_NATIVE(jlong, matmulCreate)
(JNIEnv* env, jclass, jlong m, jlong n, jlong k, jboolean transposeX, jboolean transposeW, jboolean bias, jboolean addend,
    jint activation) {
    try {
        MatmulShape shape{m, n, k, transposeX != 0, transposeW != 0, bias != 0, addend != 0, activation == 1};
        return reinterpret_cast<jlong>(Matmul::create(shape).release());
    } catch (const std::exception& e) {
        throwJava(env, "java/lang/IllegalStateException", e.what());
        return 0;
    }
}

CPU_NATIVE(jlong, matmulScratchBytes)(JNIEnv* env, jclass, jlong handle) {
    return refuseNull(env, "matmulScratchBytes", {handle}) ? 0 : static_cast<jlong>(matmulOf(handle).scratchBytes());
}

CPU_NATIVE(jstring, matmulImplementation)(JNIEnv* env, jclass, jlong handle) {
    if (refuseNull(env, "matmulImplementation", {handle})) {
        return nullptr;
    }
    return env->NewStringUTF(matmulOf(handle).implementation().c_str());
}

CPU_NATIVE(void, matmulRun)
(JNIEnv* env, jclass, jlong handle, jlong x, jlong w, jlong bias, jlong addend, jlong y, jlong scratch) {
    if (refuseNull(env, "matmulRun", {handle, x, w, y})) {
        return;
    }
    try {
        matmulOf(handle).run(Address{x}, Address{w}, Address{bias}, Address{addend}, Address{y}, Address{scratch});
    } catch (const std::exception& e) {
        throwJava(env, "java/lang/IllegalStateException", e.what());
    }
}

CPU_NATIVE(void, matmulDestroy)(JNIEnv*, jclass, jlong handle) {
    delete reinterpret_cast<Matmul*>(handle);
}
