// The management library: what discovery and the doctor ask.
#include <cstdio>
#include <cstring>

#include "device.h"
#include "cudasim.h"

using namespace cudasim;

#define API extern "C" __attribute__((visibility("default"))) int

namespace {

enum Result { kSuccess = 0, kInvalidArgument = 2, kNotSupported = 3, kNotFound = 6, kInsufficientSize = 7 };

struct NvmlMemory {
    unsigned long long total, free, used;
};

struct NvmlPci {
    char legacy_bus_id[16];
    unsigned domain, bus, device, pci_device_id, pci_subsystem_id;
    char bus_id[32];
};

int copy(char* to, unsigned bytes, const std::string& text) {
    if (text.size() >= bytes) {
        return kInsufficientSize;
    }
    strcpy(to, text.c_str());
    return kSuccess;
}

constexpr unsigned kLinks = 18;

}  // namespace

API nvmlInit_v2() { return cudasim_fault("nvmlInit"); }

API nvmlShutdown() { return kSuccess; }

API nvmlSystemGetDriverVersion(char* version, unsigned bytes) { return copy(version, bytes, "590.00.00"); }

API nvmlSystemGetCudaDriverVersion_v2(int* version) {
    *version = 13010;
    return kSuccess;
}

// NVML sees all devices, whatever CUDA_VISIBLE_DEVICES says.
API nvmlDeviceGetCount_v2(unsigned* count) {
    *count = static_cast<unsigned>(device_count());
    return cudasim_fault("nvmlDeviceGetCount");
}

API nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
    if (index >= static_cast<unsigned>(device_count())) {
        return kInvalidArgument;
    }
    *handle = device(static_cast<int>(index));
    return kSuccess;
}

API nvmlDeviceGetHandleByUUID(const char* uuid, void** handle) {
    for (int x = 0; x < device_count(); x++) {
        if (device(x)->uuid() == uuid) {
            *handle = device(x);
            return kSuccess;
        }
    }
    return kNotFound;
}

API nvmlDeviceGetUUID(void* handle, char* uuid, unsigned bytes) {
    return copy(uuid, bytes, static_cast<Device*>(handle)->uuid());
}

API nvmlDeviceGetName(void*, char* name, unsigned bytes) { return copy(name, bytes, "Simulated H100 (brazier cudasim)"); }

API nvmlDeviceGetIndex(void* handle, unsigned* index) {
    *index = static_cast<unsigned>(static_cast<Device*>(handle)->ordinal());
    return kSuccess;
}

API nvmlDeviceGetMemoryInfo(void* handle, NvmlMemory* memory) {
    auto* device = static_cast<Device*>(handle);
    std::lock_guard<std::mutex> lock(device->mutex());
    memory->total = device->memory().capacity();
    memory->free = device->memory().free_bytes();
    memory->used = memory->total - memory->free;
    return kSuccess;
}

API nvmlDeviceGetCudaComputeCapability(void*, int* major, int* minor) {
    *major = 9;
    *minor = 0;
    return kSuccess;
}

API nvmlDeviceGetPciInfo_v3(void* handle, NvmlPci* pci) {
    memset(pci, 0, sizeof(*pci));
    pci->bus = static_cast<unsigned>(static_cast<Device*>(handle)->ordinal()) + 1;
    snprintf(pci->bus_id, sizeof(pci->bus_id), "00000000:%02X:00.0", pci->bus);
    return kSuccess;
}

API nvmlDeviceGetNvLinkState(void*, unsigned link, int* active) {
    *active = 1;
    return link < kLinks ? kSuccess : kInvalidArgument;
}

API nvmlDeviceGetNvLinkVersion(void*, unsigned link, unsigned* version) {
    *version = 4;
    return link < kLinks ? kSuccess : kInvalidArgument;
}

API nvmlDeviceGetTopologyCommonAncestor(void*, void*, int* level) {
    *level = 50;
    return kSuccess;
}

API nvmlDeviceGetMigMode(void*, unsigned* current, unsigned* pending) {
    *current = *pending = 0;
    return kSuccess;
}

API nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
    *count = 0;
    return kSuccess;
}

API nvmlDeviceGetMigDeviceHandleByIndex(void*, unsigned, void**) { return kNotFound; }

API nvmlDeviceGetPowerManagementLimit(void*, unsigned* milliwatts) {
    *milliwatts = 700'000;
    return kSuccess;
}

API nvmlDeviceGetTemperature(void*, int, unsigned* celsius) {
    *celsius = 40;
    return kSuccess;
}

extern "C" __attribute__((visibility("default"))) const char* nvmlErrorString(int result) {
    switch (result) {
        case kSuccess: return "Success";
        case kInvalidArgument: return "Invalid Argument";
        case kNotSupported: return "Not Supported";
        case kNotFound: return "Not Found";
        case kInsufficientSize: return "Insufficient Size";
        default: return "Unknown Error";
    }
}
