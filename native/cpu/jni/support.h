// What every JNI function shares: its exported name, addresses as pointers, and exceptions.
#pragma once

#include <jni.h>

#include <cstdint>
#include <initializer_list>

#define CPU_NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_io_brazier_cpu_CpuNative_##name

namespace brazier {

// The address of an operand as a typed pointer; 0 is the absent operand.
struct Address {
    jlong value;

    template <class T>
    operator T*() const {
        return reinterpret_cast<T*>(static_cast<intptr_t>(value));
    }
};

void throwJava(JNIEnv* env, const char* exceptionClass, const char* message);

// Throws IllegalArgumentException naming `function` and returns true when any of the required operands is absent.
bool refuseNull(JNIEnv* env, const char* function, std::initializer_list<jlong> required);

}  // namespace brazier

// Leaves a JNI function that returns nothing when any of the required operands is absent.
#define REQUIRE(name, ...)                           \
    if (refuseNull(env, #name, {__VA_ARGS__})) {     \
        return;                                      \
    }
