// Kernels that g++ compiled, loaded from the bytes that nvrtc's stand-in returned.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "../device/abi.h"

namespace cudasim {

class Module;

struct Kernel {
    Module* module;
    const KernelEntry* entry;

    // Offset of each parameter in the parameter buffer of a launch, and the end of the last.
    std::vector<size_t> parameter_offsets() const;
};

// A __shared__ variable.
struct SharedVariable {
    size_t begin, end;  // from the start of the module's static shared memory
    std::string name;
};

// A module has one set of shared variables, so that one launch of it runs at a time; launches see to that.
class Module {
   public:
    // Throws std::runtime_error where the bytes are no kernels of the emulator's. Their length stands in themselves.
    explicit Module(const void* image);
    Module(const Module&) = delete;
    Module& operator=(const Module&) = delete;

    // Null where there is none of this name.
    const Kernel* kernel(const std::string& name) const;
    std::vector<std::string> kernel_names() const;

    // With instrumentation of accesses.
    bool checked() const { return table_->checked; }
    State& state() const { return *table_->state; }
    unsigned char* shared() const { return table_->shared_begin; }
    size_t shared_bytes() const { return static_cast<size_t>(table_->shared_end - table_->shared_begin); }
    // Bytes that kernels declare, red zones between variables left out.
    size_t declared_shared_bytes() const;
    bool in_image(uint64_t address) const { return address - image_ < image_bytes_; }

    // The variable that holds a byte of static shared memory, or null for a red zone.
    const SharedVariable* variable(size_t offset) const;
    // The lines of source at an address of code, innermost first: "brazier.cuh:70 in norm.cu:12".
    const std::string& lines(const void* code);

    friend int launch(const Kernel& kernel, void** arguments, Extent grid, Extent block, size_t dynamic_shared_bytes);

   private:
    std::string find_lines(const void* code) const;
    void read_variables(const unsigned char* elf);

    // The library in memory; closes what it has opened, also when a module turns out to be none.
    struct Library {
        ~Library();
        int file = -1;
        void* handle = nullptr;
    };

    Library library_;
    const ModuleTable* table_ = nullptr;
    uint64_t image_ = 0, image_bytes_ = 0;
    std::vector<Kernel> kernels_;
    std::vector<SharedVariable> variables_;
    std::vector<uint16_t> variable_of_byte_;
    std::map<const void*, std::string> lines_;
    // Held for a launch.
    std::mutex running_;
};

// Runs every block of a launch on the calling thread; arguments as cuLaunchKernel takes them, which need not outlive the call.
// Returns 0 or the CUDA error that hardware would give: 700 for an address outside of everything, 716 for a misaligned one, 719 for
// barriers that would hang. Rules that hardware does not enforce are reported only. The caller has checked the sizes of the launch.
int launch(const Kernel& kernel, void** arguments, Extent grid, Extent block, size_t dynamic_shared_bytes);

// Most dynamic shared memory of a launch.
constexpr size_t kMaxDynamicShared = 227 << 10;

}  // namespace cudasim
