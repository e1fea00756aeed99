// Copies and fills.
#include <cstring>

#include "faults.h"
#include "streams.h"

using namespace cudasim;

namespace {

// A host address where the device's is meant, or the other way round.
bool mixed_up(const char* call, uint64_t device_address, const void* host) {
    if (cudasim_device_of(reinterpret_cast<void*>(device_address)) < 0) {
        cudasim_violation("%s: %#lx is no memory of a device", call, device_address);
        return true;
    }
    if (host != nullptr && cudasim_device_of(host) >= 0) {
        cudasim_violation("%s: the host's address %p is memory of a device", call, host);
        return true;
    }
    return false;
}

std::shared_ptr<Work> work(const char* what, std::vector<Range> ranges, std::function<void()> run) {
    auto made = std::make_shared<Work>();
    made->what = what;
    made->ranges = std::move(ranges);
    made->run = [run = std::move(run)] {
        run();
        return 0;
    };
    return made;
}

}  // namespace

API cuMemcpyHtoDAsync_v2(uint64_t target, const void* source, size_t bytes, void* handle) {
    OF_STREAM("cuMemcpyHtoDAsync")
    if (mixed_up("cuMemcpyHtoDAsync", target, source)) {
        return kInvalidValue;
    }
    std::shared_ptr<void> staged;
    if (!page_locked(source, bytes)) {
        // Pageable memory is read before the call returns.
        staged = std::shared_ptr<void>(malloc(bytes), ::free);
        memcpy(staged.get(), source, bytes);
        source = staged.get();
    }
    return submit(*device, *stream, work("cuMemcpyHtoDAsync", {{target, bytes, true}}, [=] {
        memcpy(reinterpret_cast<void*>(target), staged == nullptr ? source : staged.get(), bytes);
    }));
}

API cuMemcpyDtoHAsync_v2(void* target, uint64_t source, size_t bytes, void* handle) {
    OF_STREAM("cuMemcpyDtoHAsync")
    if (mixed_up("cuMemcpyDtoHAsync", source, target)) {
        return kInvalidValue;
    }
    int result = submit(*device, *stream, work("cuMemcpyDtoHAsync", {{source, bytes, false}},
                                               [=] { memcpy(target, reinterpret_cast<void*>(source), bytes); }));
    // Pageable memory is written before the call returns.
    return result != kSuccess || page_locked(target, bytes) || stream->capture != nullptr ? result
                                                                                          : device->wait(lock, stream->last);
}

API cuMemcpyDtoDAsync_v2(uint64_t target, uint64_t source, size_t bytes, void* handle) {
    OF_STREAM("cuMemcpyDtoDAsync")
    if (mixed_up("cuMemcpyDtoDAsync", target, nullptr) || mixed_up("cuMemcpyDtoDAsync", source, nullptr)) {
        return kInvalidValue;
    }
    if (target != source && target < source + bytes && source < target + bytes) {
        cudasim_violation("cuMemcpyDtoDAsync of %zu bytes between memory that overlaps", bytes);
    }
    return submit(*device, *stream, work("cuMemcpyDtoDAsync", {{source, bytes, false}, {target, bytes, true}}, [=] {
        memmove(reinterpret_cast<void*>(target), reinterpret_cast<void*>(source), bytes);
    }));
}

API cuMemsetD8Async(uint64_t target, unsigned char value, size_t bytes, void* handle) {
    OF_STREAM("cuMemsetD8Async")
    if (mixed_up("cuMemsetD8Async", target, nullptr)) {
        return kInvalidValue;
    }
    return submit(*device, *stream, work("cuMemsetD8Async", {{target, bytes, true}},
                                         [=] { memset(reinterpret_cast<void*>(target), value, bytes); }));
}

API cuMemsetD32Async(uint64_t target, unsigned value, size_t count, void* handle) {
    OF_STREAM("cuMemsetD32Async")
    if (mixed_up("cuMemsetD32Async", target, nullptr) || target % 4 != 0) {
        return kInvalidValue;
    }
    return submit(*device, *stream, work("cuMemsetD32Async", {{target, 4 * count, true}}, [=] {
        auto* words = reinterpret_cast<unsigned*>(target);
        std::fill(words, words + count, value);
    }));
}
