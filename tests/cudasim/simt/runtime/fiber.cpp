#include "fiber.h"

#include <sys/mman.h>

#include <stdexcept>

// Callee-saved registers of the x86-64 ABI; the control words of floating point stay as they are.
__asm__(
    ".text\n"
    ".globl cudasim_switch\n"
    ".hidden cudasim_switch\n"
    ".type cudasim_switch, @function\n"
    "cudasim_switch:\n"
    "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
    "  movq %rsp, (%rdi)\n"
    "  movq %rsi, %rsp\n"
    "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
    "  ret\n"
    ".size cudasim_switch, . - cudasim_switch\n"
    // The first frame of a stack: calls rbx(r12, r13).
    ".globl cudasim_first_frame\n"
    ".hidden cudasim_first_frame\n"
    ".type cudasim_first_frame, @function\n"
    "cudasim_first_frame:\n"
    "  movq %r12, %rdi\n  movq %r13, %rsi\n"
    "  callq *%rbx\n"
    "  ud2\n"
    ".size cudasim_first_frame, . - cudasim_first_frame\n");

extern "C" void cudasim_first_frame();

namespace cudasim {

Stacks::Stacks(int count) : count_(count) {
    void* memory = mmap(nullptr, bytes(), PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::runtime_error("no address space for the stacks of simulated threads");
    }
    memory_ = static_cast<unsigned char*>(memory);
    for (int x = 0; x < count; x++) {
        mprotect(memory_ + x * kStride + kGuard, kStride - kGuard, PROT_READ | PROT_WRITE);
    }
    release_all();
}

Stacks::~Stacks() { munmap(memory_, bytes()); }

void Stacks::release_all() {
    free_.clear();
    for (int x = count_ - 1; x >= 0; x--) {
        free_.push_back(x);
    }
}

void* Stacks::prepare(void (*start)(void*, int), void* argument) {
    int stack = free_.back();
    free_.pop_back();
    // Tops at different distances from a page's end, since equal ones would compete for the same lines of the cache.
    size_t stagger = static_cast<size_t>(stack % 61) * 192;
    auto* top = reinterpret_cast<uint64_t*>(memory_ + (stack + 1) * kStride - stagger - 64);
    top -= 2;  // so that the first call finds the stack aligned
    *--top = reinterpret_cast<uint64_t>(&cudasim_first_frame);
    *--top = 0;                                      // rbp
    *--top = reinterpret_cast<uint64_t>(start);      // rbx
    *--top = reinterpret_cast<uint64_t>(argument);   // r12
    *--top = static_cast<uint64_t>(stack);           // r13
    *--top = 0;                                      // r14
    *--top = 0;                                      // r15
    return top;
}

}  // namespace cudasim
