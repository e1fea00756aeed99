// Stacks for the threads of a block, and the switch from one to another.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cudasim {

// Stores where the caller goes on, and goes on where `to` was stored.
extern "C" void cudasim_switch(void** from, void* to);

class Stacks {
   public:
    explicit Stacks(int count);
    ~Stacks();
    Stacks(const Stacks&) = delete;
    Stacks& operator=(const Stacks&) = delete;

    // A stack whose first switch calls start(argument, its number), which must not return.
    void* prepare(void (*start)(void* argument, int stack), void* argument);
    void release(int stack) { free_.push_back(stack); }
    void release_all();

    uint64_t begin() const { return reinterpret_cast<uint64_t>(memory_); }
    size_t bytes() const { return static_cast<size_t>(count_) * kStride; }

   private:
    static constexpr size_t kGuard = 4096, kStride = (128 << 10) + kGuard;

    int count_;
    unsigned char* memory_;
    std::vector<int> free_;
};

}  // namespace cudasim
