// Streams, events, and graphs that capture them.
#pragma once

#include <set>
#include <vector>

#include "faults.h"

namespace cudasim {

struct Node {
    std::shared_ptr<const Work> work;
    std::set<int> needs;
};

struct Graph {
    std::vector<Node> nodes;
};

struct Capture {
    Stream* origin = nullptr;
    std::shared_ptr<Graph> graph = std::make_shared<Graph>();
    // The last nodes of each stream that takes part.
    std::map<Stream*, std::set<int>> ends;
    bool invalid = false;
};

struct GraphExec {
    int device;
    std::shared_ptr<Graph> graph;
    // The line of each node: consecutive nodes share one.
    std::vector<uint32_t> lines;
    std::map<uint32_t, uint32_t> numbers;
    TaskRef last;
};

// Gives work to a stream, or to the graph that captures it. The device is locked.
int submit(Device& device, Stream& stream, std::shared_ptr<const Work> work);

// The stream of a handle of the calling thread's device; null for a handle that is none.
Stream* stream_of(Device& device, void* handle);

// Whether calls that might wait for a stream would spoil a capture.
bool capturing_on_this_thread();

// Whether cuMemHostAlloc gave these bytes.
bool page_locked(const void* address, size_t bytes);

}  // namespace cudasim

// The device and the stream of a handle that an entry point was given.
#define OF_STREAM(name)                             \
    ENTER_DEVICE(name)                              \
    Stream* stream = stream_of(*device, handle);    \
    if (stream == nullptr) {                        \
        return kInvalidHandle;                      \
    }
