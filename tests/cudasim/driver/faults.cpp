// Violations, planted errors and counters, and the door by which tests reach them.
#include "faults.h"

#include <jni.h>

#include <cstdarg>
#include <cstdio>
#include <map>
#include <string>
#include <vector>

namespace {

struct Fault {
    long calls_left;
    int code;
};

std::mutex mutex;
std::map<std::string, long> calls;
std::map<std::string, Fault> faults;
std::vector<std::string> violations;
std::vector<std::string> ranges;
constexpr size_t kMostViolations = 200;

std::string text(JNIEnv* env, jstring string) {
    const char* chars = env->GetStringUTFChars(string, nullptr);
    std::string copy = chars;
    env->ReleaseStringUTFChars(string, chars);
    return copy;
}

jobjectArray array(JNIEnv* env, const std::vector<std::string>& texts) {
    jobjectArray array = env->NewObjectArray(static_cast<jsize>(texts.size()), env->FindClass("java/lang/String"), nullptr);
    for (size_t x = 0; x < texts.size(); x++) {
        env->SetObjectArrayElement(array, static_cast<jsize>(x), env->NewStringUTF(texts[x].c_str()));
    }
    return array;
}

}  // namespace

extern "C" {

// Of the emulator; absent from a build without it.
__attribute__((weak)) void cudasim_where(char* text, size_t bytes);

void cudasim_violation(const char* format, ...) {
    char what[1024], where[512] = "";
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(what, sizeof(what), format, arguments);
    va_end(arguments);
    if (cudasim_where != nullptr) {
        cudasim_where(where, sizeof(where));
    }
    std::string line = std::string(what) + (where[0] == 0 ? "" : std::string(" (") + where + ")");
    std::lock_guard<std::mutex> lock(mutex);
    if (violations.size() < kMostViolations) {
        fprintf(stderr, "cudasim: %s\n", line.c_str());
        violations.push_back(line);
    }
}

void cudasim_range_opened(const char* name) {
    std::lock_guard<std::mutex> lock(mutex);
    ranges.push_back(std::string("+") + name);
}

void cudasim_range_closed(void) {
    std::lock_guard<std::mutex> lock(mutex);
    ranges.push_back("-");
}

int cudasim_fault(const char* function) {
    std::lock_guard<std::mutex> lock(mutex);
    calls[function]++;
    auto found = faults.find(function);
    return found == faults.end() || found->second.calls_left-- != 1 ? 0 : found->second.code;
}

JNIEXPORT void JNICALL Java_io_brazier_tests_cuda_Cudasim_failCall(JNIEnv* env, jclass, jstring function, jlong nth, jint code) {
    std::lock_guard<std::mutex> lock(mutex);
    faults[text(env, function)] = {static_cast<long>(nth), code};
}

JNIEXPORT void JNICALL Java_io_brazier_tests_cuda_Cudasim_clearFaults(JNIEnv*, jclass) {
    std::lock_guard<std::mutex> lock(mutex);
    faults.clear();
}

JNIEXPORT jobjectArray JNICALL Java_io_brazier_tests_cuda_Cudasim_takeViolations(JNIEnv* env, jclass) {
    std::lock_guard<std::mutex> lock(mutex);
    jobjectArray taken = array(env, violations);
    violations.clear();
    return taken;
}

JNIEXPORT jobjectArray JNICALL Java_io_brazier_tests_cuda_Cudasim_takeRanges(JNIEnv* env, jclass) {
    std::lock_guard<std::mutex> lock(mutex);
    jobjectArray taken = array(env, ranges);
    ranges.clear();
    return taken;
}

JNIEXPORT jlong JNICALL Java_io_brazier_tests_cuda_Cudasim_calls(JNIEnv* env, jclass, jstring function) {
    std::lock_guard<std::mutex> lock(mutex);
    return calls[text(env, function)];
}

JNIEXPORT jobjectArray JNICALL Java_io_brazier_tests_cuda_Cudasim_called(JNIEnv* env, jclass) {
    std::lock_guard<std::mutex> lock(mutex);
    std::vector<std::string> functions;
    for (const auto& [function, count] : calls) {
        functions.push_back(function);
    }
    return array(env, functions);
}

JNIEXPORT void JNICALL Java_io_brazier_tests_cuda_Cudasim_nothing(JNIEnv*, jclass) {}

JNIEXPORT jlong JNICALL Java_io_brazier_tests_cuda_Cudasim_liveAllocations(JNIEnv*, jclass, jint ordinal) {
    cudasim::Device* device = cudasim::device(ordinal);
    std::lock_guard<std::mutex> lock(device->mutex());
    return static_cast<jlong>(device->memory().live());
}

}  // extern "C"
