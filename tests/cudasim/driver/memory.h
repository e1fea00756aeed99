// Memory of one simulated device: allocations between gaps, who wrote what, and who touched it last.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <string>

#include "clocks.h"

namespace cudasim {

struct Allocation {
    uint64_t begin, bytes;
    unsigned number;
    bool freed;
};

class Memory {
   public:
    Memory(int device, size_t capacity);
    Memory(const Memory&) = delete;
    Memory& operator=(const Memory&) = delete;

    // 0 when the device is full.
    uint64_t allocate(size_t bytes);
    bool free(uint64_t address);
    size_t live() const;
    size_t free_bytes() const { return capacity_ - used_; }
    size_t capacity() const { return capacity_; }
    bool holds(uint64_t address) const { return address - base_ < kReserved; }

    // Judges an access by a task: 0 or the CUDA error it gives. A write marks what it writes.
    int access(const Task& task, uint64_t address, size_t bytes, bool write);

   private:
    // What is known of four bytes.
    struct Cell {
        uint32_t written_by, read_by, also_read_by;
        uint8_t written_bytes;
    };

    static constexpr size_t kReserved = size_t{1} << 36, kGap = 512, kCellBytes = 4;

    bool ordered(const Task& task, uint32_t earlier);
    Cell& cell(uint64_t address) { return cells_[(address - base_) / kCellBytes]; }
    int refuse(const Task& task, uint64_t address, size_t bytes, bool write) const;
    void report_race(const Task& task, uint32_t earlier, uint64_t address, const char* kinds) const;
    std::string describe(uint64_t address) const;

    int device_;
    size_t capacity_, used_ = 0;
    uint64_t base_, next_;
    Cell* cells_;
    std::map<uint64_t, Allocation> allocations_;
    const Allocation* last_ = nullptr;
    unsigned numbers_ = 0;
    // Earlier tasks that the running one is known to follow, by their ids' last bits.
    uint32_t running_ = 0, followed_[64] = {};
};

}  // namespace cudasim
