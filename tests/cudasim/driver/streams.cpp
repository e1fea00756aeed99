#include "streams.h"

#include <algorithm>
#include <cstring>

#include "faults.h"

namespace cudasim {

namespace {

thread_local int captures_of_thread = 0;

std::mutex defaults_mutex;
std::map<Device*, Stream*> defaults;

Stream* make_stream(Device& device) {
    auto* stream = new Stream;
    stream->device = device.ordinal();
    stream->line = new_line();
    device.streams.insert(stream);
    return stream;
}

std::set<int> ancestors(const Graph& graph, const std::set<int>& ends) {
    std::set<int> found;
    std::vector<int> open(ends.begin(), ends.end());
    while (!open.empty()) {
        int node = open.back();
        open.pop_back();
        if (found.insert(node).second) {
            const std::set<int>& needs = graph.nodes[static_cast<size_t>(node)].needs;
            open.insert(open.end(), needs.begin(), needs.end());
        }
    }
    return found;
}

void invalidate(Stream& stream) { stream.capture->invalid = true; }

}  // namespace

bool capturing_on_this_thread() { return captures_of_thread > 0; }

Stream* stream_of(Device& device, void* handle) {
    if (handle == nullptr) {
        std::lock_guard<std::mutex> lock(defaults_mutex);
        Stream*& stream = defaults[&device];
        if (stream == nullptr) {
            stream = make_stream(device);
        }
        return stream;
    }
    auto* stream = static_cast<Stream*>(handle);
    if (device.streams.count(stream) == 0) {
        cudasim_violation("a stream that is none of device %d's, or destroyed", device.ordinal());
        return nullptr;
    }
    return stream;
}

int submit(Device& device, Stream& stream, std::shared_ptr<const Work> work) {
    if (stream.capture == nullptr) {
        device.enqueue(stream, std::move(work));
        return kSuccess;
    }
    if (stream.capture->invalid) {
        return kCaptureInvalidated;
    }
    std::vector<Node>& nodes = stream.capture->graph->nodes;
    std::set<int>& ends = stream.capture->ends[&stream];
    nodes.push_back({std::move(work), ends});
    ends = {static_cast<int>(nodes.size()) - 1};
    return kSuccess;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" int cudasim_enqueue(CUstream handle, const char* what, const cudasim_range* ranges, int count, int blocking,
                               void (*run)(void*), void* argument, void (*release)(void*)) {
    OF_STREAM("cudasim_enqueue")
    auto held = std::shared_ptr<void>(argument, [release](void* a) {
        if (release != nullptr) {
            release(a);
        }
    });
    auto work = std::make_shared<Work>();
    work->what = what;
    work->blocking = blocking != 0;
    for (int x = 0; x < count; x++) {
        work->ranges.push_back({reinterpret_cast<uint64_t>(ranges[x].address), ranges[x].bytes, ranges[x].write != 0});
    }
    work->run = [run, held] {
        run(held.get());
        return 0;
    };
    return submit(*device, *stream, work);
}

API cuStreamCreateWithPriority(void** handle, unsigned, int) {
    ENTER_DEVICE("cuStreamCreate")
    *handle = make_stream(*device);
    return kSuccess;
}

API cuStreamCreate(void** handle, unsigned flags) { return cuStreamCreateWithPriority(handle, flags, 0); }

API cuStreamDestroy_v2(void* handle) {
    OF_STREAM("cuStreamDestroy")
    device->wait(lock, stream->last);
    device->streams.erase(stream);
    delete stream;
    return kSuccess;
}

API cuStreamSynchronize(void* handle) {
    OF_STREAM("cuStreamSynchronize")
    if (stream->capture != nullptr) {
        invalidate(*stream);
        return kCaptureUnsupported;
    }
    return device->wait(lock, stream->last);
}

API cuStreamQuery(void* handle) {
    OF_STREAM("cuStreamQuery")
    if (stream->capture != nullptr) {
        invalidate(*stream);
        return kCaptureUnsupported;
    }
    return device->finished(stream->last) ? kSuccess : kNotReady;
}

API cuStreamWaitEvent(void* handle, void* event_handle, unsigned) {
    OF_STREAM("cuStreamWaitEvent")
    auto* event = static_cast<Event*>(event_handle);
    if (event->capture == nullptr) {
        if (stream->capture != nullptr && event->recorded != nullptr) {
            invalidate(*stream);
            return kCaptureIsolation;
        }
        if (event->recorded != nullptr) {
            stream->awaited.push_back(event->recorded);
        }
        return kSuccess;
    }
    if (stream->capture != nullptr && stream->capture != event->capture) {
        invalidate(*stream);
        return kCaptureMerge;
    }
    stream->capture = event->capture;
    stream->capture->ends[stream].insert(event->nodes.begin(), event->nodes.end());
    return kSuccess;
}

API cuStreamBeginCapture_v2(void* handle, int mode) {
    OF_STREAM("cuStreamBeginCapture")
    if (stream->capture != nullptr || handle == nullptr || mode < 0 || mode > 2) {
        return kInvalidValue;
    }
    stream->capture = new Capture;
    stream->capture->origin = stream;
    stream->capture->ends[stream] = {};
    captures_of_thread++;
    return kSuccess;
}

API cuStreamIsCapturing(void* handle, int* status) {
    OF_STREAM("cuStreamIsCapturing")
    *status = stream->capture == nullptr ? 0 : stream->capture->invalid ? 2 : 1;
    return kSuccess;
}

API cuStreamEndCapture(void* handle, void** graph) {
    OF_STREAM("cuStreamEndCapture")
    Capture* capture = stream->capture;
    if (capture == nullptr || capture->origin != stream) {
        return capture == nullptr ? kInvalidValue : kCaptureUnmatched;
    }
    captures_of_thread--;
    std::set<int> joined = ancestors(*capture->graph, capture->ends[stream]);
    for (const auto& [member, ends] : capture->ends) {
        member->capture = nullptr;
    }
    *graph = nullptr;
    int result = capture->invalid ? kCaptureInvalidated
                 : joined.size() < capture->graph->nodes.size() ? kCaptureUnjoined
                                                                : kSuccess;
    if (result == kSuccess) {
        *graph = new std::shared_ptr<Graph>(capture->graph);
    }
    // The capture stays: events that it recorded refer to it.
    return result;
}

API cuGraphGetNodes(void* graph, void**, size_t* count) {
    ENTER("cuGraphGetNodes")
    *count = (*static_cast<std::shared_ptr<Graph>*>(graph))->nodes.size();
    return kSuccess;
}

API cuGraphDestroy(void* graph) {
    ENTER("cuGraphDestroy")
    delete static_cast<std::shared_ptr<Graph>*>(graph);
    return kSuccess;
}

API cuGraphInstantiateWithFlags(void** handle, void* graph, unsigned long long) {
    ENTER_DEVICE("cuGraphInstantiate")
    auto* exec = new GraphExec{device->ordinal(), *static_cast<std::shared_ptr<Graph>*>(graph), {}, {}, nullptr};
    std::set<int> ends;
    for (size_t x = 0; x < exec->graph->nodes.size(); x++) {
        uint32_t line = UINT32_MAX;
        for (int need : exec->graph->nodes[x].needs) {
            if (ends.count(need) > 0) {
                line = exec->lines[static_cast<size_t>(need)];
                ends.erase(need);
                break;
            }
        }
        exec->lines.push_back(line == UINT32_MAX ? new_line() : line);
        ends.insert(static_cast<int>(x));
    }
    *handle = exec;
    return kSuccess;
}

API cuGraphExecDestroy(void* handle) {
    ENTER_DEVICE("cuGraphExecDestroy")
    auto* exec = static_cast<GraphExec*>(handle);
    device->wait(lock, exec->last);
    delete exec;
    return kSuccess;
}

API cuGraphLaunch(void* exec_handle, void* handle) {
    OF_STREAM("cuGraphLaunch")
    auto* exec = static_cast<GraphExec*>(exec_handle);
    if (stream->capture != nullptr) {
        return kNotSupported;
    }
    static const auto begin = std::make_shared<const Work>(Work{"the begin of a graph", {}, false, {}});
    static const auto end = std::make_shared<const Work>(Work{"the end of a graph", {}, false, {}});
    if (exec->last != nullptr) {
        stream->awaited.push_back(exec->last);
    }
    TaskRef first = device->enqueue(*stream, begin);
    std::vector<TaskRef> tasks;
    for (size_t x = 0; x < exec->graph->nodes.size(); x++) {
        const Node& node = exec->graph->nodes[x];
        std::vector<TaskRef> needs;
        for (int need : node.needs) {
            needs.push_back(tasks[static_cast<size_t>(need)]);
        }
        if (needs.empty()) {
            needs.push_back(first);
        }
        uint32_t line = exec->lines[x];
        tasks.push_back(device->add(node.work, line, ++exec->numbers[line], std::move(needs)));
    }
    stream->awaited = tasks;
    exec->last = device->enqueue(*stream, end);
    return kSuccess;
}

API cuEventCreate(void** handle, unsigned flags) {
    ENTER_DEVICE("cuEventCreate")
    constexpr unsigned kDisableTiming = 2;
    *handle = new Event{device->ordinal(), (flags & kDisableTiming) == 0, nullptr, {}, nullptr, {}};
    return kSuccess;
}

API cuEventRecord(void* event_handle, void* handle) {
    OF_STREAM("cuEventRecord")
    auto* event = static_cast<Event*>(event_handle);
    event->capture = stream->capture;
    if (stream->capture != nullptr) {
        event->nodes = stream->capture->ends[stream];
        return kSuccess;
    }
    if (!stream->awaited.empty()) {
        static const auto meeting = std::make_shared<const Work>(Work{"an event", {}, false, {}});
        device->enqueue(*stream, meeting);
    }
    event->recorded = stream->last;
    event->recorded_at = std::chrono::steady_clock::now();
    return kSuccess;
}

API cuEventQuery(void* handle) {
    ENTER_DEVICE("cuEventQuery")
    auto* event = static_cast<Event*>(handle);
    if (event->capture != nullptr) {
        return kCapturedEvent;
    }
    return device->finished(event->recorded) ? kSuccess : kNotReady;
}

API cuEventSynchronize(void* handle) {
    ENTER_DEVICE("cuEventSynchronize")
    auto* event = static_cast<Event*>(handle);
    return event->capture != nullptr ? kCapturedEvent : device->wait(lock, event->recorded);
}

// Of this processor's clock: it says nothing of a GPU.
API cuEventElapsedTime_v2(float* milliseconds, void* first, void* second) {
    ENTER_DEVICE("cuEventElapsedTime")
    std::chrono::steady_clock::time_point times[2];
    for (int x = 0; x < 2; x++) {
        auto* event = static_cast<Event*>(x == 0 ? first : second);
        if (!event->timed || event->capture != nullptr || event->recorded_at == std::chrono::steady_clock::time_point()) {
            return kInvalidHandle;
        }
        if (!device->finished(event->recorded)) {
            return kNotReady;
        }
        times[x] = event->recorded == nullptr ? event->recorded_at : std::max(event->recorded_at, event->recorded->ended);
    }
    *milliseconds = std::chrono::duration<float, std::milli>(times[1] - times[0]).count();
    return kSuccess;
}

API cuEventDestroy_v2(void* handle) {
    ENTER_DEVICE("cuEventDestroy")
    delete static_cast<Event*>(handle);
    return kSuccess;
}
