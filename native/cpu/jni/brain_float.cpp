// Conversions to and from bf16; see kernels.cpp.
#include "kernels/kernels.h"

#include "support.h"

using namespace brazier;

#define BRAIN_FLOAT_NATIVE(type, name) extern "C" JNIEXPORT type JNICALL Java_io_brazier_cpu_CpuBrainFloat_##name

BRAIN_FLOAT_NATIVE(void, toBrainFloat)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(toBrainFloat, x, y)
    kernels().toBrainFloat(Address{x}, Address{y}, count);
}

BRAIN_FLOAT_NATIVE(void, fromBrainFloat)(JNIEnv* env, jclass, jlong x, jlong y, jlong count) {
    REQUIRE(fromBrainFloat, x, y)
    kernels().fromBrainFloat(Address{x}, Address{y}, count);
}

BRAIN_FLOAT_NATIVE(void, brainFloatRows)
(JNIEnv* env, jclass, jlong ids, jlong table, jlong y, jlong rows, jlong width, jlong vocabulary, jlong firstId) {
    REQUIRE(brainFloatRows, ids, table, y)
    kernels().brainFloatRows(Address{ids}, Address{table}, Address{y}, rows, width, vocabulary, firstId);
}
