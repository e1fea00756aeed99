// What a kernel module compiled by g++ and the run time that executes it know of each other.
#pragma once

namespace cudasim {

// Runs the blocks of a launch; the module only hands it back.
struct Engine;

struct Extent {
    unsigned x, y, z;
};

enum class Access : int { kRead, kWrite, kAtomic };

// A line of kernel source.
struct Place {
    const char* file;
    int line;
};

struct FourFloats {
    float at[4];
};

struct FourWords {
    unsigned at[4];
};

// Calls out of a kernel; each acts for the thread that runs. None returns when the launch has failed.
struct Services {
    // Judges an access to shared or global memory before it happens; code is where the kernel made it.
    void (*access)(Engine*, const void* address, unsigned bytes, Access access, const void* code);
    void (*misaligned)(Engine*, const void* address, unsigned alignment, Place place);
    void (*out_of_bounds)(Engine*, long long index, const char* type, Place place);
    void (*divided_by_zero)(Engine*, Place place);
    void (*trap)(Engine*, Place place);
    void (*block_barrier)(Engine*, Place place);
    void (*warp_barrier)(Engine*, unsigned mask, Place place);
    // The value of another lane; a source of -1 stands for the caller's own.
    unsigned long long (*shuffle)(Engine*, unsigned mask, unsigned long long value, int source, Place place);
    unsigned (*ballot)(Engine*, unsigned mask, bool predicate, Place place);
    FourWords (*ldmatrix)(Engine*, const void* row, int tiles, bool transposed, Place place);
    FourFloats (*mma_bf16)(Engine*, FourFloats d, FourWords a, unsigned b0, unsigned b1, Place place);
    void (*cp_async)(Engine*, void* shared, const void* global, bool valid, Place place);
    void (*cp_async_commit)(Engine*);
    void (*cp_async_wait)(Engine*, int pending);
    void (*fence)(Engine*);
};

// Variables of the module that the run time sets: the indices at each switch of threads, the rest at each launch.
struct State {
    Extent thread, block, block_size, grid_size;
    Engine* engine;
    unsigned char* dynamic_shared;
    // Accesses to the threads' own stacks are nobody's business.
    unsigned long long stacks, stack_bytes;
    Services services;
};

struct KernelEntry {
    const char* name;
    // Runs one thread.
    void (*run)(void** arguments);
    const unsigned* parameter_bytes;
    unsigned parameters;
    // What __launch_bounds__ says, 1024 without it.
    unsigned max_threads;
};

// The one symbol that a module exports, cudasim_module.
struct ModuleTable {
    const char* abi;
    bool checked;
    State* state;
    unsigned char *shared_begin, *shared_end;
    const KernelEntry* kernels;
    unsigned kernel_count;
};

// Changes with every structure above.
constexpr const char* kAbi = "cudasim-simt-2";

}  // namespace cudasim
