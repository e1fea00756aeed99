#include "global_shadow.h"

#include <algorithm>

namespace cudasim {

void GlobalShadow::start_launch() {
    if (pages_.size() > kMostPages || epoch_ > 0xe0000000u) {
        pages_.clear();
        for (auto& cached : cached_) {
            cached = {};
        }
        epoch_ = 0;
    }
    launch_start_ = ++epoch_;
    fenced_ = false;
}

GlobalShadow::Cell* GlobalShadow::page(uint64_t number) {
    auto& cached = cached_[number % kCachedPages];
    if (cached.number != number) {
        std::unique_ptr<Cell[]>& page = pages_[number];
        if (page == nullptr) {
            page = std::make_unique<Cell[]>(kPageBytes / 4);
        }
        cached.number = number;
        cached.page = page.get();
    }
    return cached.page;
}

GlobalShadow::Clash GlobalShadow::access(const void* address, size_t bytes, Access kind, unsigned thread) {
    Clash first;
    auto at = reinterpret_cast<uint64_t>(address);
    for (uint64_t end = at + bytes; at < end;) {
        uint64_t stop = std::min(end, at / 4 * 4 + 4);
        auto mask = static_cast<uint8_t>((1u << (stop - at / 4 * 4)) - (1u << at % 4));
        Clash clash = judge(page(at / kPageBytes)[at % kPageBytes / 4], mask, kind, thread);
        first = first.hazard == Hazard::kNone ? clash : first;
        at = stop;
    }
    return first;
}

GlobalShadow::Clash GlobalShadow::judge(Cell& cell, uint8_t bytes, Access kind, unsigned thread) const {
    if (kind == Access::kRead) {
        Clash clash = after_write(cell, bytes, thread, Hazard::kReadAfterWrite);
        note_read(cell, bytes, thread);
        return clash;
    }
    bool atomic = kind == Access::kAtomic;
    Clash clash = after_reads(cell, bytes, thread);
    if (!(atomic && cell.atomic)) {
        Clash write = after_write(cell, bytes, thread, Hazard::kWriteAfterWrite);
        clash = write.hazard == Hazard::kNone ? clash : write;
    }
    bool again = cell.write_epoch == epoch_ && cell.writer == thread;
    cell.written = (again ? cell.written | bytes : bytes) & 15u;
    cell.write_epoch = epoch_;
    cell.writer = static_cast<uint16_t>(thread);
    cell.atomic = atomic;
    return clash;
}

GlobalShadow::Clash GlobalShadow::after_write(const Cell& cell, uint8_t bytes, unsigned thread, Hazard hazard) const {
    if (cell.write_epoch < launch_start_ || !(cell.written & bytes)) {
        return {};
    }
    if (cell.write_epoch < block_start_) {
        return fenced_ ? Clash{} : Clash{hazard, true, 0};
    }
    bool now = cell.write_epoch == epoch_ && cell.writer / kLanes != thread / kLanes;
    return now ? Clash{hazard, false, cell.writer} : Clash{};
}

GlobalShadow::Clash GlobalShadow::after_reads(const Cell& cell, uint8_t bytes, unsigned thread) const {
    if (cell.read_epoch < launch_start_) {
        return {};
    }
    bool earlier_block = cell.read_epoch < block_start_ && cell.read & bytes;
    if (earlier_block || cell.read_by_blocks & bytes) {
        return fenced_ ? Clash{} : Clash{Hazard::kWriteAfterRead, true, 0};
    }
    bool other_warp = cell.reader / kLanes != thread / kLanes && cell.read & bytes;
    bool now = cell.read_epoch == epoch_ && (other_warp || cell.read_by_warps & bytes);
    return now ? Clash{Hazard::kWriteAfterRead, false, cell.reader} : Clash{};
}

void GlobalShadow::note_read(Cell& cell, uint8_t bytes, unsigned thread) const {
    if (cell.read_epoch < launch_start_) {
        cell.read = cell.read_by_warps = cell.read_by_blocks = 0;
    } else if (cell.read_epoch < block_start_) {
        cell.read_by_blocks |= cell.read;
        cell.read = cell.read_by_warps = 0;
    } else if (cell.read_epoch < epoch_) {
        cell.read = cell.read_by_warps = 0;
    } else if (cell.reader / kLanes != thread / kLanes) {
        cell.read_by_warps |= cell.read & bytes;
        cell.read = 0;
    }
    cell.read = (cell.read | bytes) & 15u;
    cell.read_epoch = epoch_;
    cell.reader = static_cast<uint16_t>(thread);
}

}  // namespace cudasim
