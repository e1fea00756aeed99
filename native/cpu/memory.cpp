#include "memory.h"

#include <sys/mman.h>

#include <cstdint>

namespace brazier {

static constexpr size_t HUGE_PAGE = size_t{2} << 20;

static size_t mappedBytes(size_t bytes) {
    return (bytes + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
}

void* allocateHuge(size_t bytes) {
    size_t wanted = mappedBytes(bytes == 0 ? 1 : bytes);
    // One page more than asked for, so that an aligned stretch lies inside; what sticks out goes back.
    void* raw = mmap(nullptr, wanted + HUGE_PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (raw == MAP_FAILED) {
        return nullptr;
    }
    uintptr_t start = reinterpret_cast<uintptr_t>(raw);
    uintptr_t aligned = (start + HUGE_PAGE - 1) / HUGE_PAGE * HUGE_PAGE;
    if (aligned > start) {
        munmap(raw, aligned - start);
    }
    if (start + HUGE_PAGE > aligned) {
        munmap(reinterpret_cast<void*>(aligned + wanted), start + HUGE_PAGE - aligned);
    }
    madvise(reinterpret_cast<void*>(aligned), wanted, MADV_HUGEPAGE);
    return reinterpret_cast<void*>(aligned);
}

void freeHuge(void* address, size_t bytes) {
    munmap(address, mappedBytes(bytes == 0 ? 1 : bytes));
}

}  // namespace brazier
