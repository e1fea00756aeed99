// The management library: what discovery and the doctor ask.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
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
constexpr int kSwitch = 2;

// What a handle points to: a GPU, or one of its MIG instances.
struct Unit {
    int gpu;
    int instance;  // -1 for the GPU

    Device* part(int x) const { return device(first_device(gpu) + x); }
    // The devices that it consists of.
    std::vector<Device*> parts() const {
        std::vector<Device*> found;
        for (int x = 0; x < std::max(1, instances(gpu)); x++) {
            if (instance < 0 || instance == x) {
                found.push_back(part(x));
            }
        }
        return found;
    }
    std::string uuid() const { return instance < 0 ? gpu_uuid(gpu) : part(instance)->uuid(); }
};

// By GPU, each before its instances.
Unit* unit(int gpu, int instance) {
    static std::vector<std::vector<Unit>>* units = [] {
        auto* made = new std::vector<std::vector<Unit>>;
        for (int x = 0; x < gpu_count(); x++) {
            made->emplace_back();
            for (int y = -1; y < instances(x); y++) {
                made->back().push_back({x, y});
            }
        }
        return made;
    }();
    return &(*units)[static_cast<size_t>(gpu)][static_cast<size_t>(instance + 1)];
}

const Unit& of(void* handle) { return *static_cast<Unit*>(handle); }

int direct_links() {
    const char* text = getenv("CUDASIM_NVLINKS");
    return text == nullptr ? -1 : atoi(text);
}

void describe(int gpu, NvmlPci* pci) {
    memset(pci, 0, sizeof(*pci));
    pci->bus = static_cast<unsigned>(gpu) + 1;
    snprintf(pci->bus_id, sizeof(pci->bus_id), "00000000:%02X:00.0", pci->bus);
}

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
    *count = static_cast<unsigned>(gpu_count());
    return cudasim_fault("nvmlDeviceGetCount");
}

API nvmlDeviceGetHandleByIndex_v2(unsigned index, void** handle) {
    if (index >= static_cast<unsigned>(gpu_count())) {
        return kInvalidArgument;
    }
    *handle = unit(static_cast<int>(index), -1);
    return kSuccess;
}

API nvmlDeviceGetUUID(void* handle, char* uuid, unsigned bytes) { return copy(uuid, bytes, of(handle).uuid()); }

API nvmlDeviceGetName(void* handle, char* name, unsigned bytes) {
    const Unit& unit = of(handle);
    std::string text = unit.part(0)->name();
    return copy(name, bytes, unit.instance < 0 ? text.substr(0, text.find(" MIG ")) : text);
}

API nvmlDeviceGetMemoryInfo(void* handle, NvmlMemory* memory) {
    *memory = {};
    for (Device* device : of(handle).parts()) {
        std::lock_guard<std::mutex> lock(device->mutex());
        memory->total += device->memory().capacity();
        memory->free += device->memory().free_bytes();
    }
    memory->used = memory->total - memory->free;
    return kSuccess;
}

API nvmlDeviceGetCudaComputeCapability(void*, int* major, int* minor) {
    *major = 9;
    *minor = 0;
    return kSuccess;
}

API nvmlDeviceGetPciInfo_v3(void* handle, NvmlPci* pci) {
    describe(of(handle).gpu, pci);
    return kSuccess;
}

// All links of all GPUs lead to switches, unless CUDASIM_NVLINKS says how many join GPUs 0 and 1, and 2 and 3, directly.
API nvmlDeviceGetNvLinkState(void*, unsigned link, int* active) {
    *active = direct_links() < 0 || static_cast<int>(link) < direct_links();
    return link < kLinks ? kSuccess : kInvalidArgument;
}

API nvmlDeviceGetNvLinkRemoteDeviceType(void*, unsigned link, int* type) {
    *type = direct_links() < 0 ? kSwitch : 0;
    return link < kLinks ? kSuccess : kInvalidArgument;
}

API nvmlDeviceGetNvLinkRemotePciInfo_v2(void* handle, unsigned link, NvmlPci* pci) {
    describe(of(handle).gpu ^ 1, pci);
    return link < kLinks ? kSuccess : kInvalidArgument;
}

API nvmlDeviceGetTopologyCommonAncestor(void*, void*, int* level) {
    *level = 50;
    return kSuccess;
}

API nvmlDeviceGetMigMode(void* handle, unsigned* current, unsigned* pending) {
    *current = *pending = instances(of(handle).gpu) > 0;
    return kSuccess;
}

API nvmlDeviceGetMaxMigDeviceCount(void*, unsigned* count) {
    *count = 7;
    return kSuccess;
}

API nvmlDeviceGetMigDeviceHandleByIndex(void* handle, unsigned index, void** instance) {
    if (static_cast<int>(index) >= instances(of(handle).gpu)) {
        return kNotFound;
    }
    *instance = unit(of(handle).gpu, static_cast<int>(index));
    return kSuccess;
}

API nvmlDeviceGetPowerManagementLimit(void*, unsigned* milliwatts) {
    *milliwatts = 700'000;
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
