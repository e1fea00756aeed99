#include "engine.h"

#include <sys/mman.h>

#include <cstdarg>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <numeric>
#include <stdexcept>

#include "host.h"

namespace cudasim {

namespace {

thread_local Engine* running = nullptr;

constexpr size_t kReserved = kMaxDynamicShared + 2 * kMargin;
// No number, and no index.
constexpr int kPoison = 0xff;

// Engines that no launch uses.
class Pool {
   public:
    std::unique_ptr<Engine> take() {
        std::lock_guard<std::mutex> lock(mutex_);
        if (idle_.empty()) {
            return std::make_unique<Engine>();
        }
        std::unique_ptr<Engine> engine = std::move(idle_.back());
        idle_.pop_back();
        return engine;
    }

    void give(std::unique_ptr<Engine> engine) {
        std::lock_guard<std::mutex> lock(mutex_);
        idle_.push_back(std::move(engine));
    }

   private:
    std::mutex mutex_;
    std::vector<std::unique_ptr<Engine>> idle_;
};

Pool& pool() {
    static auto* engines = new Pool;
    return *engines;
}

// The blocks of a grid, one after the other; in another order for each CUDASIM_SEED, since hardware promises none.
class BlockOrder {
   public:
    explicit BlockOrder(uint64_t count) : count_(count) {
        const char* seed = getenv("CUDASIM_SEED");
        if (seed != nullptr) {
            uint64_t random = (strtoull(seed, nullptr, 10) + 1) * 0x9e3779b97f4a7c15u;
            first_ = (random >> 40) % count;
            step_ = (random >> 20 & 0xfffff) % count + 1;
            while (std::gcd(step_, count) != 1) {
                step_++;
            }
        }
    }

    uint64_t count() const { return count_; }
    uint64_t at(uint64_t x) const { return (first_ + x * step_) % count_; }

   private:
    uint64_t count_, first_ = 0, step_ = 1;
};

}  // namespace

std::string text(const Place& place) { return std::string(place.file) + ":" + std::to_string(place.line); }

std::string text(const Extent& index) {
    return "(" + std::to_string(index.x) + "," + std::to_string(index.y) + "," + std::to_string(index.z) + ")";
}

bool same(const Place& x, const Place& y) {
    return x.line == y.line && (x.file == y.file || strcmp(x.file, y.file) == 0);
}

Engine* running_engine() { return running; }

int launch(const Kernel& kernel, void** arguments, Extent grid, Extent block, size_t dynamic_shared_bytes) {
    std::lock_guard<std::mutex> lock(kernel.module->running_);
    std::unique_ptr<Engine> engine = pool().take();
    running = engine.get();
    int error = engine->launch(kernel, arguments, grid, block, dynamic_shared_bytes);
    running = nullptr;
    pool().give(std::move(engine));
    return error;
}

Engine::Engine() : stacks_(kMaxThreads), threads_(kMaxThreads), clocks_(kMaxThreads / kLanes) {
    void* memory = mmap(nullptr, kReserved, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) {
        throw std::runtime_error("no memory for the shared memory of simulated blocks");
    }
    dynamic_ = static_cast<unsigned char*>(memory) + kMargin;
    for (unsigned x = 0; x < kMaxThreads; x++) {
        threads_[x].id = static_cast<uint16_t>(x);
    }
}

Engine::~Engine() { munmap(dynamic_ - kMargin, kReserved); }

int Engine::launch(const Kernel& kernel, void** arguments, Extent grid, Extent block, size_t dynamic_bytes) {
    kernel_ = &kernel;
    module_ = kernel.module;
    state_ = &module_->state();
    arguments_ = arguments;
    block_size_ = block;
    dynamic_bytes_ = dynamic_bytes;
    checked_ = module_->checked();
    thread_count_ = block.x * block.y * block.z;
    static_begin_ = reinterpret_cast<uint64_t>(module_->shared());
    static_bytes_ = module_->shared_bytes();
    error_ = 0;
    reported_.clear();
    stacks_.release_all();
    *state_ = State{{}, {}, block, grid, this, dynamic_, stacks_.begin(), stacks_.bytes(), services()};
    if (checked_) {
        shadow_.reserve(module_->shared_bytes() + kMaxDynamicShared);
        global_shadow_.start_launch();
    }
    BlockOrder order(static_cast<uint64_t>(grid.x) * grid.y * grid.z);
    for (uint64_t x = 0; x < order.count(); x++) {
        uint64_t number = order.at(x);
        block_ = {static_cast<unsigned>(number % grid.x), static_cast<unsigned>(number / grid.x % grid.y),
                  static_cast<unsigned>(number / grid.x / grid.y)};
        if (checked_ || x == 0) {
            memset(module_->shared(), kPoison, static_bytes_);
            memset(dynamic_, kPoison, dynamic_bytes);
        }
        run_block();
        if (error_ != 0) {
            return error_;
        }
    }
    return 0;
}

void Engine::run_block() {
    state_->block = block_;
    shadow_.start_block();
    global_shadow_.start_block();
    for (unsigned first = 0; first < thread_count_; first += kLanes) {
        Warp& warp = warps_[first / kLanes];
        unsigned lanes = std::min(kLanes, thread_count_ - first);
        warp.present = lanes == kLanes ? ~0u : (1u << lanes) - 1;
        warp.exited = 0;
        warp.group_count = 0;
    }
    started_ = 0;
    live_ = thread_count_;
    next_index_ = {0, 0, 0};
    ready_head_ = ready_tail_ = 0;
    at_barrier_ = 0;
    left_early_ = nullptr;
    cudasim_switch(&main_, stacks_.prepare(start_threads, this));
    current_ = nullptr;
}

// ---- threads ----

void Engine::start_threads(void* engine, int stack) { static_cast<Engine*>(engine)->run_threads(stack); }

// The bottom of every stack: threads that end without having waited follow each other on one.
void Engine::run_threads(int stack) {
    while (started_ < thread_count_) {
        begin(threads_[started_++]);
        kernel_->entry->run(arguments_);
        finish(*current_);
    }
    // Nobody takes the stack over before the switch away from it.
    stacks_.release(stack);
    void* nowhere;
    cudasim_switch(&nowhere, live_ == 0 ? main_ : next_to_run());
}

void Engine::begin(Thread& thread) {
    thread.index = next_index_;
    if (++next_index_.x == block_size_.x) {
        next_index_.x = 0;
        if (++next_index_.y == block_size_.y) {
            next_index_.y = 0;
            next_index_.z++;
        }
    }
    thread.exited = thread.worked = thread.waits = false;
    thread.copy_groups = 0;
    thread.copies.clear();
    current_ = &thread;
    state_->thread = thread.index;
}

void Engine::finish(Thread& thread) {
    thread.exited = true;
    live_--;
    Warp& warp = this->warp();
    unsigned lane = 1u << thread.id % kLanes;
    warp.exited |= lane;
    for (unsigned x = 0; x < warp.group_count; x++) {
        const Group& group = warp.groups[x];
        if (group.mask & lane) {
            fail(kLaunchFailed, text(group.place), "the lane left the kernel, and lanes of mask %#x wait for it", group.mask);
        }
    }
    if (thread.worked) {
        left_early_ = &thread;
    }
    if (at_barrier_ > 0 && at_barrier_ == live_) {
        release_barrier();
    }
}

void Engine::wake(Thread& thread) {
    thread.waits = false;
    ready_[ready_tail_++ % kMaxThreads] = thread.id;
}

// Where the next thread goes on; current_ is that thread.
void* Engine::next_to_run() {
    if (ready_head_ != ready_tail_) {
        current_ = &threads_[ready_[ready_head_++ % kMaxThreads]];
        state_->thread = current_->index;
        return current_->stack_pointer;
    }
    if (started_ < thread_count_) {
        return stacks_.prepare(start_threads, this);
    }
    deadlock();
}

void Engine::wait(Meeting meeting, unsigned mask, Place place) {
    Thread& thread = *current_;
    thread.waits = true;
    thread.meeting = meeting;
    thread.mask = mask;
    thread.place = place;
    cudasim_switch(&thread.stack_pointer, next_to_run());
}

void Engine::leave_block() {
    void* nowhere;
    cudasim_switch(&nowhere, main_);
    __builtin_unreachable();
}

void Engine::deadlock() {
    current_ = nullptr;
    for (unsigned x = 0; x < thread_count_; x++) {
        if (threads_[x].waits) {
            current_ = &threads_[x];
            break;
        }
    }
    fail(kLaunchFailed, text(current_->place), "no thread can go on; waiting: %s", waiting_list().c_str());
}

std::string Engine::waiting_list() const {
    static const char* const kNames[] = {"__syncwarp", "shuffle", "vote", "ldmatrix", "mma"};
    std::vector<std::pair<std::string, unsigned>> lines;
    for (unsigned x = 0; x < thread_count_; x++) {
        const Thread& thread = threads_[x];
        if (thread.waits) {
            char mask[24];
            snprintf(mask, sizeof(mask), "%#x", thread.mask);
            std::string what =
                thread.mask == 0 ? "__syncthreads" : kNames[static_cast<int>(thread.meeting)] + std::string(" of mask ") + mask;
            std::string line = what + " at " + text(thread.place);
            if (lines.empty() || lines.back().first != line) {
                lines.emplace_back(line, x);
            }
        }
    }
    std::string list;
    for (size_t x = 0; x < lines.size() && x < 6; x++) {
        list += (x > 0 ? "; " : "") + ("thread " + std::to_string(lines[x].second)) + " on, " + lines[x].first;
    }
    return list;
}

// ---- the barrier of the block ----

void Engine::block_barrier(Place place) {
    current_->worked = true;
    if (at_barrier_ == 0) {
        barrier_place_ = place;
    } else if (!same(place, barrier_place_)) {
        fail(kLaunchFailed, text(place), "divergent barrier: other threads of the block wait in the __syncthreads at %s",
             text(barrier_place_).c_str());
    }
    if (++at_barrier_ == live_) {
        // The last one does not wait, but it must not be woken either.
        current_->waits = false;
        release_barrier();
    } else {
        wait(Meeting::kBarrier, 0, place);
    }
}

// A thread that leaves before the others' barriers must have left at once, as threads beyond the data do; one that has worked has
// rather missed a barrier.
void Engine::release_barrier() {
    if (left_early_ != nullptr) {
        fail(kLaunchFailed, text(barrier_place_), "divergent barrier: thread %s left the kernel after it had written or waited",
             text(left_early_->index).c_str());
    }
    shadow_.block_barrier();
    global_shadow_.block_barrier();
    at_barrier_ = 0;
    for (unsigned x = 0; x < started_; x++) {
        Thread& thread = threads_[x];
        if (thread.waits) {
            wake(thread);
        }
    }
}

// ---- reports ----

std::string Engine::position() const {
    std::string position = std::string("kernel ") + kernel_->entry->name + ", block " + text(block_);
    return current_ == nullptr ? position : position + ", thread " + text(current_->index);
}

void Engine::fail(int error, const std::string& place, const char* format, ...) {
    char message[2048];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(message, sizeof(message), format, arguments);
    va_end(arguments);
    cudasim_violation("%s, at %s: %s", position().c_str(), place.c_str(), message);
    error_ = error;
    leave_block();
}

}  // namespace cudasim
