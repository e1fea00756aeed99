// A device of nothing but memory, enough to run kernels on.
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "module.h"

namespace selftest {

// Reads a .cu of this folder with brazier.cuh, compiles it through NVRTC's functions and loads the code.
struct Folders {
    std::string product, selftest;
};

std::unique_ptr<cudasim::Module> build(const std::string& file, const Folders& folders);

// The result of nvrtcCompileProgram, and what it logged.
std::pair<int, std::string> compile(const std::string& name, const std::string& source, const Folders& folders, std::string* code);

// Memory that kernels may touch, while it lives; every byte counts as written.
template <typename T>
class Array {
   public:
    explicit Array(size_t count, T value = T());
    ~Array();
    Array(const Array&) = delete;
    Array& operator=(const Array&) = delete;

    T* data() { return data_; }
    T& operator[](size_t x) { return data_[x]; }
    size_t size() const { return count_; }

   private:
    size_t count_;
    T* data_;
};

void* allocate(size_t bytes);
void release(void* memory);

template <typename T>
Array<T>::Array(size_t count, T value) : count_(count), data_(static_cast<T*>(allocate(count * sizeof(T)))) {
    std::fill(data_, data_ + count, value);
}

template <typename T>
Array<T>::~Array() {
    release(data_);
}

// Launches with arguments of the kernel's own types; returns the error.
template <typename... Argument>
int launch(const cudasim::Module& module, const std::string& kernel, cudasim::Extent grid, cudasim::Extent block, size_t shared,
           Argument... arguments) {
    void* addresses[] = {&arguments...};
    return cudasim::launch(*module.kernel(kernel), addresses, grid, block, shared);
}

// Violations since the last call.
std::vector<std::string> violations();

// Counts and prints what fails.
void check(bool holds, const std::string& what);
void near(double found, double expected, double tolerance, const std::string& what);
int failures();

void run_correct_kernels(const Folders& folders);
void run_faulty_kernels(const Folders& folders);
void run_compiler(const Folders& folders);
void run_timings(const Folders& folders);

}  // namespace selftest
