// The order of work by vector clocks: a task knows, for each line of tasks, the last one that has ended before it begins.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

namespace cudasim {

using Clock = std::vector<uint32_t>;

void join(Clock& into, const Clock& other);

struct Range {
    uint64_t address;
    size_t bytes;
    bool write;
};

// What a task does, as often as it is asked to.
struct Work {
    std::string what;
    std::vector<Range> ranges;
    bool blocking = false;
    // Returns 0 or a CUDA error that ends the device.
    std::function<int()> run;
};

// One run of a piece of work.
struct Task {
    std::shared_ptr<const Work> work;
    // A line is a sequence of tasks that are ordered among themselves: a stream, or a branch of a graph.
    uint32_t line = 0, number = 0;
    // Under which accesses are remembered.
    uint32_t id = 0;
    Clock clock;
    std::vector<std::shared_ptr<Task>> needs;
    bool started = false;
    std::atomic<bool> done{false};
    std::chrono::steady_clock::time_point ended;

    bool follows(uint32_t other_line, uint32_t other_number) const {
        return other_line < clock.size() && clock[other_line] >= other_number;
    }
};

// What is remembered of a task that touched memory.
struct Trace {
    uint32_t line, number;
    std::shared_ptr<const Work> work;
};

// All tasks of the process by id; id 0 is none.
uint32_t remember(const Task& task);
Trace recall(uint32_t id);
uint32_t new_line();

}  // namespace cudasim
