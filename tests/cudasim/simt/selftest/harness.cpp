#include "harness.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <map>
#include <sstream>

#include "../checks.h"
#include "host.h"

extern "C" {
int nvrtcCreateProgram(void**, const char*, const char*, int, const char* const*, const char* const*);
int nvrtcCompileProgram(void*, int, const char* const*);
int nvrtcGetCUBINSize(void*, size_t*);
int nvrtcGetCUBIN(void*, char*);
int nvrtcGetProgramLogSize(void*, size_t*);
int nvrtcGetProgramLog(void*, char*);
int nvrtcDestroyProgram(void**);
}

namespace {

std::map<uint64_t, size_t> allocations;
std::vector<std::string> found;
int failed = 0;

int judge(const void* address, size_t bytes, const char* verb) {
    auto at = reinterpret_cast<uint64_t>(address);
    auto next = allocations.upper_bound(at);
    if (next != allocations.begin() && at + bytes <= std::prev(next)->first + std::prev(next)->second) {
        return 0;
    }
    char where[512];
    cudasim_where(where, sizeof(where));
    cudasim_violation("%s: %s %zu bytes outside of every allocation", where, verb, bytes);
    return 700;
}

std::string read(const std::string& file) {
    std::ifstream in(file);
    std::ostringstream text;
    text << in.rdbuf();
    if (!in) {
        fprintf(stderr, "cannot read %s\n", file.c_str());
        exit(2);
    }
    return text.str();
}

}  // namespace

int cudasim_read(const void* address, size_t bytes) { return judge(address, bytes, "reads"); }

int cudasim_write(const void* address, size_t bytes) { return judge(address, bytes, "writes"); }

void cudasim_violation(const char* format, ...) {
    char text[4096];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    found.emplace_back(text);
}

namespace selftest {

void* allocate(size_t bytes) {
    // With a distance between allocations, in which nothing lies.
    void* memory = aligned_alloc(256, (bytes + 511) / 256 * 256);
    allocations[reinterpret_cast<uint64_t>(memory)] = bytes;
    return memory;
}

void release(void* memory) {
    allocations.erase(reinterpret_cast<uint64_t>(memory));
    free(memory);
}

std::pair<int, std::string> compile(const std::string& name, const std::string& source, const Folders& folders, std::string* code) {
    std::string header = read(folders.product + "/brazier.cuh");
    const char* headers[] = {header.c_str()};
    const char* names[] = {"brazier.cuh"};
    const char* options[] = {"--gpu-architecture=sm_90", "--std=c++17"};
    void* program = nullptr;
    check(nvrtcCreateProgram(&program, source.c_str(), name.c_str(), 1, headers, names) == 0, "nvrtcCreateProgram");
    int result = nvrtcCompileProgram(program, 2, options);
    size_t bytes = 0;
    nvrtcGetProgramLogSize(program, &bytes);
    std::string log(bytes, ' ');
    nvrtcGetProgramLog(program, log.data());
    if (result == 0) {
        nvrtcGetCUBINSize(program, &bytes);
        code->resize(bytes);
        nvrtcGetCUBIN(program, code->data());
    }
    nvrtcDestroyProgram(&program);
    return {result, log};
}

std::unique_ptr<cudasim::Module> build(const std::string& file, const Folders& folders) {
    std::string code;
    std::pair<int, std::string> result =
        compile(file.substr(file.rfind('/') + 1), read(file), folders, &code);
    if (result.first != 0) {
        fprintf(stderr, "%s does not compile: %s\n", file.c_str(), result.second.c_str());
        exit(2);
    }
    return std::make_unique<cudasim::Module>(code.data());
}

std::vector<std::string> violations() {
    std::vector<std::string> texts;
    texts.swap(found);
    return texts;
}

void check(bool holds, const std::string& what) {
    if (!holds) {
        failed++;
        printf("FAILED %s\n", what.c_str());
    }
}

void near(double value, double expected, double tolerance, const std::string& what) {
    bool both_nan = std::isnan(value) && std::isnan(expected);
    check(both_nan || value == expected || std::fabs(value - expected) <= tolerance,
          what + ": " + std::to_string(value) + " instead of " + std::to_string(expected));
}

int failures() { return failed; }

}  // namespace selftest

int main(int count, char** arguments) {
    if (count < 3) {
        fprintf(stderr, "usage: simt_selftest FOLDER_OF_BRAZIER_CUH FOLDER_OF_SELFTEST [timings]\n");
        return 2;
    }
    selftest::Folders folders{arguments[1], arguments[2]};
    if (count > 3) {
        selftest::run_timings(folders);
        return 0;
    }
    selftest::run_correct_kernels(folders);
    if (cudasim::checks_wanted()) {
        selftest::run_faulty_kernels(folders);
    }
    selftest::run_compiler(folders);
    printf("%d failed\n", selftest::failures());
    return selftest::failures() == 0 ? 0 : 1;
}
