// Runs the threads of a block as fibers of one operating system thread, block after block.
#pragma once

#include <cstdint>
#include <set>
#include <string>
#include <vector>

#include "fiber.h"
#include "global_shadow.h"
#include "module.h"
#include "shadow.h"

namespace cudasim {

constexpr unsigned kMaxThreads = 1024;

// Errors that the driver returns for what kernels do.
constexpr int kIllegalAddress = 700, kMisaligned = 716, kLaunchFailed = 719;

// Room on both sides of dynamic shared memory, in which an access is out of bounds.
constexpr size_t kMargin = 64 << 10;

std::string text(const Place& place);
std::string text(const Extent& index);
bool same(const Place& x, const Place& y);

// What the lanes of a warp meet for.
enum class Meeting : uint8_t { kBarrier, kShuffle, kBallot, kLdmatrix, kMma };

// An asynchronous copy that no wait has reached.
struct Copy {
    void* to;
    const void* from;  // null for zeros
    unsigned group;
    Place place;
};

// What a lane brings to a meeting, and what it takes away.
struct Exchange {
    FourFloats d;
    FourWords a;
    unsigned b0, b1;
    const void* row;
    uint64_t value;
    int source;
};

struct Thread {
    void* stack_pointer;
    Extent index;
    uint16_t id;
    bool exited, worked;
    // What it waits for, where it waits: the mask of a meeting of lanes, 0 for the block's barrier.
    bool waits;
    Meeting meeting;
    unsigned mask;
    Place place;
    Exchange exchange;
    unsigned copy_groups;
    std::vector<Copy> copies;
};

struct Group {
    unsigned mask, arrived;
    Meeting meeting;
    Place place;
};

struct Warp {
    unsigned present, exited;
    unsigned group_count;
    Group groups[kLanes];
};

struct Engine {
   public:
    Engine();
    ~Engine();
    Engine(const Engine&) = delete;
    Engine& operator=(const Engine&) = delete;

    int launch(const Kernel& kernel, void** arguments, Extent grid, Extent block, size_t dynamic_bytes);

    // "kernel k, block (0,0,0), thread (3,0,0)".
    std::string position() const;
    // The same with the line of the access that the host judges, "" when it judges none.
    std::string where() const;

    // The services of abi.h; see there.
    void access(const void* address, unsigned bytes, Access kind, const void* code);
    void block_barrier(Place place);
    void warp_barrier(unsigned mask, Place place);
    uint64_t shuffle(unsigned mask, uint64_t value, int source, Place place);
    unsigned ballot(unsigned mask, bool predicate, Place place);
    FourWords ldmatrix(const void* row, int tiles, bool transposed, Place place);
    FourFloats mma_bf16(const Exchange& operands, Place place);
    void cp_async(void* shared, const void* global, bool valid, Place place);
    void cp_async_commit() { current_->copy_groups++; }
    void cp_async_wait(int pending);
    void fence() { global_shadow_.fence(); }

    // Reports a broken rule, and ends the launch with a CUDA error.
    [[noreturn]] void fail(int error, const std::string& place, const char* format, ...)
        __attribute__((format(printf, 4, 5)));

   private:
    void run_block();
    static void start_threads(void* engine, int stack);
    void run_threads(int stack);
    void begin(Thread& thread);
    void finish(Thread& thread);
    void wake(Thread& thread);
    void wait(Meeting meeting, unsigned mask, Place place);
    [[noreturn]] void leave_block();
    void* next_to_run();
    void release_barrier();
    [[noreturn]] void deadlock();
    std::string waiting_list() const;
    Group* join(Meeting meeting, unsigned mask, Place place);
    template <typename Complete>
    void meet(Meeting meeting, unsigned mask, Place place, Complete complete);

    // Where an access is made: its code, or its line.
    struct Site {
        const void* code;
        const Place* place;
    };
    void judge(const void* address, size_t bytes, Access kind, Site site);
    // Offset in the shadow of an address in shared memory, or -1; ends the launch where an access leaves its variable.
    long shared_offset(const void* address, size_t bytes, Site site);
    void judge_shared(size_t offset, size_t bytes, Access kind, Site site);
    void judge_global(const void* address, size_t bytes, Access kind, Site site);
    bool first_report(Site site, int kind);
    std::string line_of(Site site) const;
    std::string name_of(size_t offset) const;
    Warp& warp() { return warps_[current_->id / kLanes]; }
    Thread& lane(unsigned lane) { return threads_[current_->id / kLanes * kLanes + lane]; }

    Stacks stacks_;
    unsigned char* dynamic_;  // with a margin on both sides
    Shadow shadow_;
    GlobalShadow global_shadow_;
    std::vector<Thread> threads_;
    Warp warps_[kMaxThreads / kLanes];
    std::vector<WarpClocks> clocks_;

    const Kernel* kernel_ = nullptr;
    Module* module_ = nullptr;
    State* state_ = nullptr;
    void** arguments_ = nullptr;
    Extent block_{}, block_size_{};
    size_t dynamic_bytes_ = 0;
    bool checked_ = false;
    uint64_t static_begin_ = 0, static_bytes_ = 0;
    Site global_access_{};  // that the host judges

    Thread* current_ = nullptr;
    void* main_ = nullptr;
    unsigned thread_count_ = 0, started_ = 0, live_ = 0;
    Extent next_index_{};
    uint16_t ready_[kMaxThreads];
    unsigned ready_head_ = 0, ready_tail_ = 0;

    unsigned at_barrier_ = 0;
    Place barrier_place_{};
    const Thread* left_early_ = nullptr;  // left the kernel having done something

    int error_ = 0;
    std::set<std::pair<const void*, int>> reported_;
};

// The engine whose kernel this operating system thread runs, or null.
Engine* running_engine();
const Services& services();

}  // namespace cudasim
