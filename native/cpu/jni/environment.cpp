// The environment that native libraries read, such as CUDA's CUDA_VISIBLE_DEVICES.
#include <cstdlib>

#include "support.h"

extern "C" JNIEXPORT void JNICALL Java_io_brazier_host_NativeEnvironment_set(JNIEnv* env, jclass, jstring name, jstring value) {
    const char* key = env->GetStringUTFChars(name, nullptr);
    const char* text = key == nullptr ? nullptr : env->GetStringUTFChars(value, nullptr);
    if (text != nullptr) {
        setenv(key, text, 1);
        env->ReleaseStringUTFChars(value, text);
    }
    if (key != nullptr) {
        env->ReleaseStringUTFChars(name, key);
    }
}
