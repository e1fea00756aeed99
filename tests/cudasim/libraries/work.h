// Work on streams as the stand-in libraries describe it: what it touches, and a function.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "cudasim.h"

namespace cudasim {

class Ranges {
   public:
    void read(const void* address, size_t bytes) { add(address, bytes, 0); }
    void write(const void* address, size_t bytes) { add(address, bytes, 1); }
    void append(const Ranges& others) { ranges_.insert(ranges_.end(), others.ranges_.begin(), others.ranges_.end()); }
    const std::vector<cudasim_range>& all() const { return ranges_; }

   private:
    // Stretches that touch become one.
    void add(const void* address, size_t bytes, int write) {
        if (bytes == 0) {
            return;
        }
        if (!ranges_.empty()) {
            cudasim_range& last = ranges_.back();
            if (last.write == write && static_cast<const char*>(last.address) + last.bytes == address) {
                last.bytes += bytes;
                return;
            }
        }
        ranges_.push_back({address, bytes, write});
    }

    std::vector<cudasim_range> ranges_;
};

// Enqueues a function that may run several times, if a graph captured it. Returns a CUresult.
inline int enqueue(CUstream stream, const std::string& what, const Ranges& ranges, bool blocking, std::function<void()> run) {
    using Run = std::function<void()>;
    return cudasim_enqueue(
            stream, what.c_str(), ranges.all().data(), static_cast<int>(ranges.all().size()), blocking ? 1 : 0,
            [](void* argument) { (*static_cast<Run*>(argument))(); }, new Run(std::move(run)),
            [](void* argument) { delete static_cast<Run*>(argument); });
}

}  // namespace cudasim
