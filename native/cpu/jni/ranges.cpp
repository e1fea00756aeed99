// Ranges on a profiler's time line: NVTX, whose library is there only where it was installed.
#include <dlfcn.h>

#include "support.h"

namespace {

int (*push_range)(const char*) = nullptr;
int (*pop_range)() = nullptr;

}  // namespace

extern "C" JNIEXPORT jboolean JNICALL Java_io_brazier_cuda_Ranges_load(JNIEnv* env, jclass, jstring path) {
    const char* text = env->GetStringUTFChars(path, nullptr);
    if (text == nullptr) {
        return JNI_FALSE;
    }
    void* library = dlopen(text, RTLD_NOW | RTLD_LOCAL);
    env->ReleaseStringUTFChars(path, text);
    if (library == nullptr) {
        return JNI_FALSE;
    }
    push_range = reinterpret_cast<int (*)(const char*)>(dlsym(library, "nvtxRangePushA"));
    pop_range = reinterpret_cast<int (*)()>(dlsym(library, "nvtxRangePop"));
    return push_range != nullptr && pop_range != nullptr;
}

extern "C" JNIEXPORT void JNICALL Java_io_brazier_cuda_Ranges_push(JNIEnv* env, jclass, jstring name) {
    const char* text = env->GetStringUTFChars(name, nullptr);
    if (text != nullptr) {
        push_range(text);
        env->ReleaseStringUTFChars(name, text);
    }
}

extern "C" JNIEXPORT void JNICALL Java_io_brazier_cuda_Ranges_pop(JNIEnv*, jclass) { pop_range(); }
