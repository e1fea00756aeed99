#include "memory.h"

#include <unistd.h>

#include <cstring>
#include <string>

#include "support.h"

using namespace brazier;

CPU_NATIVE(jlong, allocate)(JNIEnv* env, jclass, jlong bytes) {
    void* address = bytes < 0 ? nullptr : allocateHuge(static_cast<size_t>(bytes));
    if (address == nullptr) {
        long long free = static_cast<long long>(sysconf(_SC_AVPHYS_PAGES)) * sysconf(_SC_PAGESIZE);
        std::string message = "the system refused " + std::to_string(bytes) + " bytes of native memory ("
            + std::to_string(free) + " bytes are free): use a smaller batch or model, or a larger machine";
        throwJava(env, "java/lang/OutOfMemoryError", message.c_str());
    }
    return reinterpret_cast<jlong>(address);
}

CPU_NATIVE(void, free)(JNIEnv* env, jclass, jlong address, jlong bytes) {
    if (!refuseNull(env, "free", {address})) {
        freeHuge(Address{address}, static_cast<size_t>(bytes));
    }
}

CPU_NATIVE(jobject, wrapNative)(JNIEnv* env, jclass, jlong address, jint bytes) {
    if (refuseNull(env, "wrap", {address})) {
        return nullptr;
    }
    return env->NewDirectByteBuffer(Address{address}, bytes);
}

CPU_NATIVE(void, copy)(JNIEnv* env, jclass, jlong dst, jlong src, jlong bytes) {
    if (!refuseNull(env, "copy", {dst, src})) {
        std::memcpy(static_cast<void*>(Address{dst}), static_cast<void*>(Address{src}), static_cast<size_t>(bytes));
    }
}

CPU_NATIVE(void, transposeBlocks)(JNIEnv* env, jclass, jlong src, jlong dst, jlong a, jlong b, jlong bytes) {
    if (refuseNull(env, "transposeBlocks", {src, dst})) {
        return;
    }
    const char* from = Address{src};
    char* to = Address{dst};
    for (jlong i = 0; i < a; i++) {
        for (jlong j = 0; j < b; j++) {
            std::memcpy(to + (j * a + i) * bytes, from + (i * b + j) * bytes, static_cast<size_t>(bytes));
        }
    }
}
