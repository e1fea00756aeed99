// Modules of kernels, and their launches.
#include <cstring>
#include <stdexcept>

#include "../simt/runtime/module.h"
#include "faults.h"
#include "streams.h"

using namespace cudasim;

namespace {

constexpr size_t kFreeShared = 48 << 10;

struct LoadedModule;

struct Function {
    LoadedModule* module;
    const Kernel* kernel;
    size_t max_dynamic_shared = kFreeShared;
};

struct LoadedModule {
    std::shared_ptr<Module> module;
    std::map<std::string, std::unique_ptr<Function>> functions;
};

// CUfunction_attribute.
enum Attribute { kMaxThreads = 0, kStaticShared = 1, kMaxDynamicSharedBytes = 8 };

// A launch with its arguments, which the caller may forget.
std::function<int()> launcher(const Function& function, Extent grid, Extent block, size_t shared, void** parameters) {
    auto values = std::make_shared<std::vector<std::vector<unsigned char>>>();
    for (unsigned x = 0; x < function.kernel->entry->parameters; x++) {
        const auto* value = static_cast<const unsigned char*>(parameters[x]);
        values->emplace_back(value, value + function.kernel->entry->parameter_bytes[x]);
    }
    return [module = function.module->module, kernel = function.kernel, grid, block, shared, values]() {
        std::vector<void*> pointers;
        for (auto& value : *values) {
            pointers.push_back(value.data());
        }
        return launch(*kernel, pointers.data(), grid, block, shared);
    };
}

}  // namespace

API cuModuleLoadData(void** handle, const void* image) {
    ENTER_DEVICE("cuModuleLoadData")
    try {
        *handle = new LoadedModule{std::make_shared<Module>(image), {}};
        return kSuccess;
    } catch (const std::runtime_error& e) {
        cudasim_violation("cuModuleLoadData: %s", e.what());
        return kInvalidImage;
    }
}

API cuModuleUnload(void* handle) {
    ENTER_DEVICE("cuModuleUnload")
    device->wait_for_all(lock);
    delete static_cast<LoadedModule*>(handle);
    return kSuccess;
}

API cuModuleGetFunction(void** handle, void* module_handle, const char* name) {
    ENTER_DEVICE("cuModuleGetFunction")
    auto* module = static_cast<LoadedModule*>(module_handle);
    const Kernel* kernel = module->module->kernel(name);
    if (kernel == nullptr) {
        return kNotFound;
    }
    std::unique_ptr<Function>& function = module->functions[name];
    if (function == nullptr) {
        function.reset(new Function{module, kernel});
    }
    *handle = function.get();
    return kSuccess;
}

API cuFuncGetParamInfo(void* handle, size_t index, size_t* offset, size_t* bytes) {
    ENTER("cuFuncGetParamInfo")
    const Kernel& kernel = *static_cast<Function*>(handle)->kernel;
    if (index >= kernel.entry->parameters) {
        return kInvalidValue;
    }
    *offset = kernel.parameter_offsets()[index];
    if (bytes != nullptr) {
        *bytes = kernel.entry->parameter_bytes[index];
    }
    return kSuccess;
}

API cuFuncSetAttribute(void* handle, int attribute, int value) {
    ENTER_DEVICE("cuFuncSetAttribute")
    if (attribute != kMaxDynamicSharedBytes) {
        return kNotSupported;
    }
    auto* function = static_cast<Function*>(handle);
    size_t bytes = static_cast<size_t>(value);
    if (value < 0 || bytes + function->module->module->declared_shared_bytes() > kMaxDynamicShared) {
        return kInvalidValue;
    }
    function->max_dynamic_shared = bytes;
    return kSuccess;
}

API cuFuncGetAttribute(int* value, int attribute, void* handle) {
    ENTER("cuFuncGetAttribute")
    auto* function = static_cast<Function*>(handle);
    switch (attribute) {
        case kMaxThreads: *value = static_cast<int>(function->kernel->entry->max_threads); return kSuccess;
        case kStaticShared: *value = static_cast<int>(function->module->module->declared_shared_bytes()); return kSuccess;
        case kMaxDynamicSharedBytes: *value = static_cast<int>(function->max_dynamic_shared); return kSuccess;
        default: return kNotSupported;
    }
}

API cuLaunchKernel(void* function_handle, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x, unsigned block_y,
                   unsigned block_z, unsigned shared, void* handle, void** parameters, void** extra) {
    OF_STREAM("cuLaunchKernel")
    const auto& function = *static_cast<Function*>(function_handle);
    unsigned long long threads = 1ull * block_x * block_y * block_z;
    bool grid_fits = grid_x > 0 && grid_x <= 0x7fffffffu && grid_y > 0 && grid_y <= 65535 && grid_z > 0 && grid_z <= 65535;
    if (!grid_fits || threads == 0 || block_z > 64 || threads > 1024 || shared > function.max_dynamic_shared || extra != nullptr) {
        return kInvalidValue;
    }
    if (threads > function.kernel->entry->max_threads) {
        return kOutOfResources;
    }
    auto work = std::make_shared<Work>();
    work->what = function.kernel->entry->name;
    work->run = launcher(function, {grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared, parameters);
    return submit(*device, *stream, work);
}
