// JNI of io.brazier.collective.SharedMemory. Addresses are trusted: the Java side owns what it passes.
#include <jni.h>

#include <cstring>
#include <vector>

#include "../shm.h"

using namespace brazier;

namespace {

template <typename T>
T* at(jlong address) {
    return reinterpret_cast<T*>(static_cast<intptr_t>(address));
}

template <typename T>
std::vector<T*> addresses(JNIEnv* env, jlongArray array) {
    std::vector<jlong> values(static_cast<size_t>(env->GetArrayLength(array)));
    env->GetLongArrayRegion(array, 0, static_cast<jsize>(values.size()), values.data());
    std::vector<T*> pointers;
    pointers.reserve(values.size());
    for (jlong value : values) pointers.push_back(at<T>(value));
    return pointers;
}

template <typename Call>
jlong withPath(JNIEnv* env, jstring path, Call call) {
    const char* text = env->GetStringUTFChars(path, nullptr);
    if (text == nullptr) return 0;
    jlong result = call(text);
    env->ReleaseStringUTFChars(path, text);
    return result;
}

}  // namespace

#define METHOD(type, name) extern "C" JNIEXPORT type JNICALL Java_io_brazier_collective_SharedMemory_##name

METHOD(jlong, create0)(JNIEnv* env, jclass, jstring path, jlong bytes) {
    return withPath(env, path, [=](const char* text) { return shm::create(text, static_cast<size_t>(bytes)); });
}

METHOD(jlong, open0)(JNIEnv* env, jclass, jstring path, jlong bytes) {
    return withPath(env, path, [=](const char* text) { return shm::open(text, static_cast<size_t>(bytes)); });
}

METHOD(jlong, anonymous0)(JNIEnv*, jclass, jlong bytes) { return shm::anonymous(static_cast<size_t>(bytes)); }

METHOD(void, unmap)(JNIEnv*, jclass, jlong address, jlong bytes) {
    shm::unmap(at<void>(address), static_cast<size_t>(bytes));
}

METHOD(jobject, view0)(JNIEnv* env, jclass, jlong address, jlong bytes) {
    return env->NewDirectByteBuffer(at<void>(address), bytes);
}

METHOD(jlong, address)(JNIEnv* env, jclass, jobject buffer) {
    return reinterpret_cast<jlong>(env->GetDirectBufferAddress(buffer));
}

METHOD(jint, load)(JNIEnv*, jclass, jlong address) {
    return static_cast<jint>(__atomic_load_n(at<uint32_t>(address), __ATOMIC_SEQ_CST));
}

METHOD(void, store)(JNIEnv*, jclass, jlong address, jint value) {
    __atomic_store_n(at<uint32_t>(address), static_cast<uint32_t>(value), __ATOMIC_SEQ_CST);
}

METHOD(void, ring)(JNIEnv*, jclass, jlong doorbell) { shm::ring(at<uint32_t>(doorbell)); }

METHOD(void, sleep)(JNIEnv*, jclass, jlong doorbell, jint seen, jlong nanos) {
    shm::sleep(at<uint32_t>(doorbell), static_cast<uint32_t>(seen), nanos);
}

METHOD(void, copy)(JNIEnv*, jclass, jlong to, jlong from, jlong bytes) {
    std::memcpy(at<void>(to), at<void>(from), static_cast<size_t>(bytes));
}

METHOD(void, sum)(JNIEnv* env, jclass, jint type, jlongArray to, jlongArray from, jlong count) {
    std::vector<void*> targets = addresses<void>(env, to);
    std::vector<const void*> sources = addresses<const void>(env, from);
    shm::sum(static_cast<shm::Element>(type), targets.data(), targets.size(), sources.data(), sources.size(), static_cast<size_t>(count));
}

METHOD(void, digest)(JNIEnv*, jclass, jlong address, jlong bytes, jlong key, jlong out) {
    shm::digest(at<uint8_t>(address), static_cast<size_t>(bytes), at<uint64_t>(key), at<uint64_t>(out));
}
