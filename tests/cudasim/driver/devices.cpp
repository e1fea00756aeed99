// Initialisation, devices, contexts, memory. A context is its device.
#include <cstdio>
#include <cstring>
#include <map>

#include "faults.h"
#include "streams.h"

namespace cudasim {

namespace {

thread_local Device* current = nullptr;
std::atomic<bool> ready{false};

constexpr int kDriverVersion = 13010, kCapabilityMajor = 9, kCapabilityMinor = 0, kMultiprocessors = 132,
              kClockKilohertz = 1980000;

// CUdevice_attribute.
enum Attribute {
    kMaxThreadsPerBlock = 1,
    kMaxSharedPerBlock = 8,
    kWarpSize = 10,
    kClockRate = 13,
    kMultiprocessorCount = 16,
    kComputeMajor = 75,
    kComputeMinor = 76,
    kMaxSharedPerMultiprocessor = 81,
    kMaxSharedPerBlockOptin = 97,
};

std::mutex hosts_mutex;
std::map<uint64_t, size_t> hosts;

}  // namespace

Device* bound() { return current; }

void bind(Device* device) { current = device; }

bool initialized() { return ready; }

bool page_locked(const void* address, size_t bytes) {
    std::lock_guard<std::mutex> lock(hosts_mutex);
    auto at = reinterpret_cast<uint64_t>(address);
    auto above = hosts.upper_bound(at);
    return above != hosts.begin() && at + bytes <= std::prev(above)->first + std::prev(above)->second;
}

}  // namespace cudasim

using namespace cudasim;

extern "C" int cudasim_current_device(void) { return current == nullptr ? -1 : current->ordinal(); }

API cuInit(unsigned flags) {
    if (int planted = cudasim_fault("cuInit")) {
        return planted;
    }
    ready = true;
    return flags == 0 ? (visible_count() == 0 ? 100 : kSuccess) : kInvalidValue;
}

API cuDriverGetVersion(int* version) {
    *version = kDriverVersion;
    return kSuccess;
}

API cuDeviceGetCount(int* count) {
    ENTER("cuDeviceGetCount")
    *count = visible_count();
    return kSuccess;
}

API cuDeviceGet(int* handle, int position) {
    ENTER("cuDeviceGet")
    *handle = position;
    return visible_device(position) == nullptr ? kInvalidDevice : kSuccess;
}

#define OF_DEVICE(name)                                      \
    ENTER(name)                                              \
    cudasim::Device* device = visible_device(handle);        \
    if (device == nullptr) {                                 \
        return kInvalidDevice;                               \
    }

API cuDeviceGetName(char* name, int bytes, int handle) {
    OF_DEVICE("cuDeviceGetName")
    snprintf(name, static_cast<size_t>(bytes), "%s", device->name().c_str());
    return kSuccess;
}

API cuDeviceGetUuid_v2(unsigned char* uuid, int handle) {
    OF_DEVICE("cuDeviceGetUuid")
    std::string text = device->uuid().substr(4);
    int at = 0;
    for (size_t x = 0; x + 1 < text.size() && at < 16; x++) {
        if (text[x] != '-') {
            uuid[at++] = static_cast<unsigned char>(std::stoi(text.substr(x++, 2), nullptr, 16));
        }
    }
    return kSuccess;
}

API cuDeviceGetAttribute(int* value, int attribute, int handle) {
    OF_DEVICE("cuDeviceGetAttribute")
    switch (attribute) {
        case kMaxThreadsPerBlock: *value = 1024; return kSuccess;
        case kMaxSharedPerBlock: *value = 48 << 10; return kSuccess;
        case kWarpSize: *value = 32; return kSuccess;
        case kClockRate: *value = kClockKilohertz; return kSuccess;
        case kMultiprocessorCount: *value = kMultiprocessors; return kSuccess;
        case kComputeMajor: *value = kCapabilityMajor; return kSuccess;
        case kComputeMinor: *value = kCapabilityMinor; return kSuccess;
        case kMaxSharedPerMultiprocessor: *value = 228 << 10; return kSuccess;
        case kMaxSharedPerBlockOptin: *value = 227 << 10; return kSuccess;
        default: return kInvalidValue;
    }
}

API cuDeviceTotalMem_v2(size_t* bytes, int handle) {
    OF_DEVICE("cuDeviceTotalMem")
    *bytes = device->memory().capacity();
    return kSuccess;
}

API cuDeviceGetPCIBusId(char* id, int bytes, int handle) {
    OF_DEVICE("cuDeviceGetPCIBusId")
    snprintf(id, static_cast<size_t>(bytes), "0000:%02x:00.0", device->gpu() + 1);
    return kSuccess;
}

API cuDevicePrimaryCtxRetain(void** context, int handle) {
    OF_DEVICE("cuDevicePrimaryCtxRetain")
    std::lock_guard<std::mutex> lock(device->mutex());
    device->primary_references++;
    *context = device;
    return device->error();
}

API cuDevicePrimaryCtxRelease_v2(int handle) {
    OF_DEVICE("cuDevicePrimaryCtxRelease")
    std::lock_guard<std::mutex> lock(device->mutex());
    if (device->primary_references == 0) {
        return kInvalidContext;
    }
    if (--device->primary_references == 0 && device->memory().live() > 0) {
        cudasim_violation("%zu allocations of device %d are still held when its context ends", device->memory().live(),
                          device->ordinal());
    }
    return kSuccess;
}

API cuCtxSetCurrent(void* context) {
    ENTER("cuCtxSetCurrent")
    bind(static_cast<Device*>(context));
    return kSuccess;
}

API cuCtxGetCurrent(void** context) {
    ENTER("cuCtxGetCurrent")
    *context = bound();
    return kSuccess;
}

API cuCtxSynchronize() {
    ENTER_DEVICE("cuCtxSynchronize")
    if (capturing_on_this_thread()) {
        return kCaptureUnsupported;
    }
    return device->wait_for_all(lock);
}

API cuMemAlloc_v2(uint64_t* address, size_t bytes) {
    ENTER_DEVICE("cuMemAlloc")
    if (capturing_on_this_thread()) {
        return kCaptureUnsupported;
    }
    if (bytes == 0) {
        return kInvalidValue;
    }
    *address = device->memory().allocate(bytes);
    return *address == 0 ? kOutOfMemory : kSuccess;
}

API cuMemFree_v2(uint64_t address) {
    ENTER_DEVICE("cuMemFree")
    if (capturing_on_this_thread()) {
        return kCaptureUnsupported;
    }
    int error = device->wait_for_all(lock);
    if (error == 0 && !device->memory().free(address)) {
        cudasim_violation("cuMemFree of %#lx, which is no allocation of device %d or freed already", address, device->ordinal());
        return kInvalidValue;
    }
    return error;
}

API cuMemGetInfo_v2(size_t* available, size_t* total) {
    ENTER_DEVICE("cuMemGetInfo")
    *available = device->memory().free_bytes();
    *total = device->memory().capacity();
    return kSuccess;
}

API cuMemHostAlloc(void** address, size_t bytes, unsigned) {
    ENTER_DEVICE("cuMemHostAlloc")
    *address = aligned_alloc(4096, (bytes + 4095) / 4096 * 4096);
    std::lock_guard<std::mutex> hosts_lock(hosts_mutex);
    hosts[reinterpret_cast<uint64_t>(*address)] = bytes;
    return kSuccess;
}

API cuMemFreeHost(void* address) {
    ENTER_DEVICE("cuMemFreeHost")
    int error = device->wait_for_all(lock);
    std::lock_guard<std::mutex> hosts_lock(hosts_mutex);
    if (hosts.erase(reinterpret_cast<uint64_t>(address)) == 0) {
        return kInvalidValue;
    }
    ::free(address);
    return error;
}
