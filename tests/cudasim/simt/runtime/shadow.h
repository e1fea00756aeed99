// What is known about each byte of a block's shared memory: who wrote and who read it since the last barrier.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../device/abi.h"

namespace cudasim {

constexpr unsigned kLanes = 32;

// Which barriers of its warp each lane knows to be behind each other lane, as vector clocks.
class WarpClocks {
   public:
    // The lanes of the mask meet at __syncwarp.
    void meet(unsigned mask);

    uint32_t own(unsigned lane) const { return known_[lane][lane]; }
    // What `other` did at this clock of its own lies before what `lane` does now.
    bool behind(unsigned lane, unsigned other, uint32_t clock) const { return known_[lane][other] > clock; }

   private:
    uint32_t known_[kLanes][kLanes] = {};
};

enum class Hazard { kNone, kUnwritten, kCopyInFlight, kReadAfterWrite, kWriteAfterRead, kWriteAfterWrite };

struct Conflict {
    Hazard hazard = Hazard::kNone;
    unsigned other = 0;  // a thread that made the earlier access
};

// Happens-before of one block at a time. Time is counted in epochs, one more at each block and each __syncthreads, so that nothing
// is cleared between blocks. Words are judged as wholes until an access splits them into bytes.
class Shadow {
   public:
    void reserve(size_t bytes);
    void start_block();
    void block_barrier() { epoch_++; }

    Conflict access(size_t offset, size_t bytes, Access access, unsigned thread, const WarpClocks& clocks);
    // Bytes that an asynchronous copy may write from now on: nobody may read them.
    void copy_in_flight(size_t offset, size_t bytes);

   private:
    static constexpr uint16_t kSeveralWarps = 0xffff;

    struct Cell {
        uint32_t write_epoch = 0, write_clock = 0, read_epoch = 0, read_clock = 0;
        uint32_t reading_lanes = 0;
        uint16_t writer = 0, reading_warp = 0;
        bool atomic = false, in_flight = false, split = false;
    };

    Conflict access(Cell& cell, Access access, unsigned thread, const WarpClocks& clocks);
    Conflict read(Cell& cell, unsigned thread, const WarpClocks& clocks);
    Conflict write(Cell& cell, bool atomic, unsigned thread, const WarpClocks& clocks);
    Conflict earlier_read(const Cell& cell, unsigned thread, const WarpClocks& clocks) const;
    void note_read(Cell& cell, unsigned thread, const WarpClocks& clocks) const;

    uint32_t epoch_ = 1, block_start_ = 1;
    std::vector<Cell> words_;
    std::vector<Cell> bytes_;
};

}  // namespace cudasim
