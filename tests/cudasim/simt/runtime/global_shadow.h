// What the threads of one launch did to each word of global memory, so that conflicts show which one processor, running block after
// block, turns into an order.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <unordered_map>

#include "../device/abi.h"
#include "shadow.h"

namespace cudasim {

// Blocks are never in order, unless fences put them there; warps of a block are by __syncthreads. Lanes of one warp are not judged.
class GlobalShadow {
   public:
    void start_launch();
    void start_block() { block_start_ = ++epoch_; }
    void block_barrier() { epoch_++; }
    // From here on blocks may have an order that this class does not know.
    void fence() { fenced_ = true; }

    struct Clash {
        Hazard hazard = Hazard::kNone;
        bool other_block = false;
        unsigned other = 0;  // a thread of this block otherwise
    };
    Clash access(const void* address, size_t bytes, Access access, unsigned thread);

   private:
    static constexpr uint64_t kPageBytes = 16 << 10;
    static constexpr size_t kMostPages = 4096, kCachedPages = 64;

    // Masks of the word's bytes: those that the last writer wrote, that the last reader read, that several warps have read since the
    // barrier, and that earlier blocks have read.
    struct Cell {
        uint32_t write_epoch, read_epoch;
        uint16_t writer, reader;
        uint8_t written : 4, read : 4;
        uint8_t read_by_warps : 4, read_by_blocks : 4;
        bool atomic;
    };

    Cell* page(uint64_t number);
    Clash judge(Cell& cell, uint8_t bytes, Access access, unsigned thread) const;
    Clash after_write(const Cell& cell, uint8_t bytes, unsigned thread, Hazard hazard) const;
    Clash after_reads(const Cell& cell, uint8_t bytes, unsigned thread) const;
    void note_read(Cell& cell, uint8_t bytes, unsigned thread) const;

    uint32_t epoch_ = 1, launch_start_ = 1, block_start_ = 1;
    bool fenced_ = false;
    std::unordered_map<uint64_t, std::unique_ptr<Cell[]>> pages_;
    struct {
        uint64_t number = ~0ull;
        Cell* page = nullptr;
    } cached_[kCachedPages];
};

}  // namespace cudasim
