#include "shadow.h"

#include <algorithm>

namespace cudasim {

void WarpClocks::meet(unsigned mask) {
    uint32_t joined[kLanes] = {};
    for (unsigned lane = 0; lane < kLanes; lane++) {
        if (mask >> lane & 1) {
            known_[lane][lane]++;
            for (unsigned other = 0; other < kLanes; other++) {
                joined[other] = std::max(joined[other], known_[lane][other]);
            }
        }
    }
    for (unsigned lane = 0; lane < kLanes; lane++) {
        if (mask >> lane & 1) {
            std::copy(joined, joined + kLanes, known_[lane]);
        }
    }
}

void Shadow::reserve(size_t bytes) {
    size_t words = (bytes + 3) / 4;
    if (words > words_.size()) {
        words_.resize(words);
        bytes_.resize(4 * words);
    }
}

void Shadow::start_block() {
    if (epoch_ > 0xf0000000u) {
        std::fill(words_.begin(), words_.end(), Cell());
        std::fill(bytes_.begin(), bytes_.end(), Cell());
        epoch_ = 0;
    }
    block_start_ = ++epoch_;
}

Conflict Shadow::access(size_t offset, size_t bytes, Access kind, unsigned thread, const WarpClocks& clocks) {
    Conflict first;
    size_t end = offset + bytes;
    while (offset < end) {
        Cell& word = words_[offset / 4];
        bool whole = offset % 4 == 0 && end - offset >= 4;
        if (whole && !word.split) {
            Conflict conflict = access(word, kind, thread, clocks);
            first = first.hazard == Hazard::kNone ? conflict : first;
            offset += 4;
            continue;
        }
        if (!word.split) {
            word.split = true;
            std::fill_n(bytes_.begin() + static_cast<long>(offset / 4 * 4), 4, word);
        }
        size_t stop = std::min(end, offset / 4 * 4 + 4);
        for (; offset < stop; offset++) {
            Conflict conflict = access(bytes_[offset], kind, thread, clocks);
            first = first.hazard == Hazard::kNone ? conflict : first;
        }
    }
    return first;
}

Conflict Shadow::access(Cell& cell, Access kind, unsigned thread, const WarpClocks& clocks) {
    switch (kind) {
        case Access::kRead:
            return read(cell, thread, clocks);
        case Access::kWrite:
            return write(cell, false, thread, clocks);
        case Access::kAtomic:
            if (cell.write_epoch < block_start_) {
                write(cell, true, thread, clocks);
                return {Hazard::kUnwritten};
            }
            return write(cell, true, thread, clocks);
    }
    return {};
}

Conflict Shadow::read(Cell& cell, unsigned thread, const WarpClocks& clocks) {
    if (cell.write_epoch < block_start_) {
        return {Hazard::kUnwritten};
    }
    if (cell.in_flight) {
        return {Hazard::kCopyInFlight, cell.writer};
    }
    Conflict conflict;
    bool now = cell.write_epoch == epoch_ && cell.writer != thread;
    if (now && (cell.writer / kLanes != thread / kLanes ||
                !clocks.behind(thread % kLanes, cell.writer % kLanes, cell.write_clock))) {
        conflict = {Hazard::kReadAfterWrite, cell.writer};
    }
    note_read(cell, thread, clocks);
    return conflict;
}

void Shadow::note_read(Cell& cell, unsigned thread, const WarpClocks& clocks) const {
    auto warp = static_cast<uint16_t>(thread / kLanes);
    unsigned lane = thread % kLanes;
    uint32_t clock = clocks.own(lane);
    if (cell.read_epoch != epoch_) {
        cell.read_epoch = epoch_;
        cell.reading_warp = warp;
        cell.reading_lanes = 0;
        cell.read_clock = clock;
    } else if (cell.reading_warp != warp) {
        cell.reading_warp = kSeveralWarps;
        return;
    }
    if (clock != cell.read_clock) {
        // Readers that lie before this one need no further thought; of the others the least clock is kept, which misses a hazard
        // of unequal sub-warps at worst, and never invents one.
        for (unsigned other = 0; other < kLanes; other++) {
            if (cell.reading_lanes >> other & 1 && clocks.behind(lane, other, cell.read_clock)) {
                cell.reading_lanes &= ~(1u << other);
            }
        }
        bool alone = (cell.reading_lanes & ~(1u << lane)) == 0;
        cell.read_clock = alone ? clock : std::min(cell.read_clock, clock);
    }
    cell.reading_lanes |= 1u << lane;
}

Conflict Shadow::earlier_read(const Cell& cell, unsigned thread, const WarpClocks& clocks) const {
    if (cell.read_epoch != epoch_) {
        return {};
    }
    if (cell.reading_warp == kSeveralWarps) {
        return {Hazard::kWriteAfterRead, thread};
    }
    for (unsigned lane = 0; lane < kLanes; lane++) {
        if (cell.reading_lanes >> lane & 1) {
            unsigned reader = cell.reading_warp * kLanes + lane;
            bool same_warp = cell.reading_warp == thread / kLanes;
            if (reader != thread && !(same_warp && clocks.behind(thread % kLanes, lane, cell.read_clock))) {
                return {Hazard::kWriteAfterRead, reader};
            }
        }
    }
    return {};
}

Conflict Shadow::write(Cell& cell, bool atomic, unsigned thread, const WarpClocks& clocks) {
    Conflict conflict = earlier_read(cell, thread, clocks);
    bool both_atomic = atomic && cell.atomic;
    if (cell.write_epoch == epoch_ && cell.writer != thread && !both_atomic &&
        (cell.writer / kLanes != thread / kLanes ||
         !clocks.behind(thread % kLanes, cell.writer % kLanes, cell.write_clock))) {
        conflict = {Hazard::kWriteAfterWrite, cell.writer};
    }
    cell.write_epoch = epoch_;
    cell.write_clock = clocks.own(thread % kLanes);
    cell.writer = static_cast<uint16_t>(thread);
    cell.atomic = atomic;
    cell.in_flight = false;
    return conflict;
}

void Shadow::copy_in_flight(size_t offset, size_t bytes) {
    for (size_t x = offset; x < offset + bytes; x++) {
        words_[x / 4].in_flight = true;
        bytes_[x].in_flight = true;
    }
}

}  // namespace cudasim
