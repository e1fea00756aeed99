// Load, threads, instruction set.
#include <omp.h>

#include <exception>

#include "kernels/kernels.h"
#include "support.h"

using namespace brazier;

CPU_NATIVE(void, setNumThreads)(JNIEnv*, jclass, jint numThreads) {
    omp_set_num_threads(numThreads);
}

CPU_NATIVE(jstring, isa)(JNIEnv* env, jclass) {
    return env->NewStringUTF(kernels().isa);
}

CPU_NATIVE(jdouble, measureFmaFlops)(JNIEnv*, jclass, jdouble seconds) {
    return kernels().fmaFlops(seconds);
}

extern "C" JNIEXPORT jint JNICALL JNI_OnLoad(JavaVM* vm, void*) {
    JNIEnv* env = nullptr;
    if (vm->GetEnv(reinterpret_cast<void**>(&env), JNI_VERSION_1_8) != JNI_OK) {
        return JNI_ERR;
    }
    try {
        kernels();
    } catch (const std::exception& e) {
        throwJava(env, "java/lang/UnsatisfiedLinkError", e.what());
        return JNI_ERR;
    }
    return JNI_VERSION_1_8;
}
