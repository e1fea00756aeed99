#include "memory.h"

#include <sys/mman.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cudasim.h"

namespace cudasim {

namespace {

constexpr int kIllegalAddress = 700;

void* reserve(size_t bytes) {
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        perror("cudasim: the address space of a device");
        abort();
    }
    return memory;
}

}  // namespace

Memory::Memory(int device, size_t capacity)
    : device_(device),
      capacity_(capacity),
      base_(reinterpret_cast<uint64_t>(reserve(kReserved))),
      next_(base_ + kGap),
      cells_(static_cast<Cell*>(reserve(kReserved / kCellBytes * sizeof(Cell)))) {}

uint64_t Memory::allocate(size_t bytes) {
    if (bytes > capacity_ - used_ || next_ + bytes + kGap > base_ + kReserved) {
        return 0;
    }
    uint64_t begin = next_;
    next_ = (begin + bytes + 2 * kGap - 1) / kGap * kGap;
    used_ += bytes;
    allocations_[begin] = {begin, bytes, ++numbers_, false};
    return begin;
}

// Addresses are not given out again, so that a use after free is known.
bool Memory::free(uint64_t address) {
    auto found = allocations_.find(address);
    if (found == allocations_.end() || found->second.freed) {
        return false;
    }
    Allocation& allocation = found->second;
    allocation.freed = true;
    used_ -= allocation.bytes;
    uint64_t page = 4096, first = (allocation.begin + page - 1) / page * page, end = (allocation.begin + allocation.bytes) / page * page;
    if (first < end) {
        madvise(reinterpret_cast<void*>(first), end - first, MADV_DONTNEED);
    }
    return true;
}

size_t Memory::live() const {
    size_t live = 0;
    for (const auto& [begin, allocation] : allocations_) {
        live += !allocation.freed;
    }
    return live;
}

int Memory::access(const Task& task, uint64_t address, size_t bytes, bool write) {
    if (last_ == nullptr || address < last_->begin || address + bytes > last_->begin + last_->bytes || last_->freed) {
        auto above = allocations_.upper_bound(address);
        last_ = above == allocations_.begin() ? nullptr : &std::prev(above)->second;
        if (last_ == nullptr || last_->freed || address + bytes > last_->begin + last_->bytes) {
            last_ = nullptr;
            return refuse(task, address, bytes, write);
        }
    }
    for (uint64_t at = address; at < address + bytes;) {
        uint64_t end = std::min(address + bytes, (at / kCellBytes + 1) * kCellBytes);
        Cell& c = cell(at);
        auto mask = static_cast<uint8_t>(((1u << (end - at)) - 1) << at % kCellBytes);
        uint32_t unordered = 0;
        const char* kinds = "";
        if (!ordered(task, c.written_by)) {
            unordered = c.written_by, kinds = write ? "writes what is written by" : "reads what is written by";
        } else if (write && !ordered(task, c.read_by)) {
            unordered = c.read_by, kinds = "writes what is read by";
        } else if (write && !ordered(task, c.also_read_by)) {
            unordered = c.also_read_by, kinds = "writes what is read by";
        }
        if (unordered != 0) {
            report_race(task, unordered, at, kinds);
        }
        if (write) {
            c.written_by = task.id, c.read_by = 0, c.also_read_by = 0;
            c.written_bytes |= mask;
        } else {
            if ((c.written_bytes & mask) != mask) {
                cudasim_violation("%s reads memory that nobody wrote, %s", task.work->what.c_str(), describe(at).c_str());
                c.written_bytes |= mask;
            }
            if (c.read_by != task.id && c.also_read_by != task.id) {
                c.also_read_by = c.read_by;
                c.read_by = task.id;
            }
        }
        at = end;
    }
    return 0;
}

// Whether a task begins after an earlier one has ended.
bool Memory::ordered(const Task& task, uint32_t earlier) {
    if (earlier == 0 || earlier == task.id) {
        return true;
    }
    if (running_ != task.id) {
        running_ = task.id;
        memset(followed_, 0, sizeof(followed_));
    }
    uint32_t& known = followed_[earlier % 64];
    if (known != earlier) {
        Trace trace = recall(earlier);
        if (!task.follows(trace.line, trace.number)) {
            return false;
        }
        known = earlier;
    }
    return true;
}

int Memory::refuse(const Task& task, uint64_t address, size_t bytes, bool write) const {
    cudasim_violation("%s %s %zu bytes outside of every allocation, %s", task.work->what.c_str(), write ? "writes" : "reads",
                      bytes, describe(address).c_str());
    return kIllegalAddress;
}

void Memory::report_race(const Task& task, uint32_t earlier, uint64_t address, const char* kinds) const {
    cudasim_violation("%s %s %s, with no order between their streams, %s", task.work->what.c_str(), kinds,
                      recall(earlier).work->what.c_str(), describe(address).c_str());
}

std::string Memory::describe(uint64_t address) const {
    char text[160];
    auto above = allocations_.upper_bound(address);
    if (above == allocations_.begin()) {
        snprintf(text, sizeof(text), "at %#lx of device %d, before its first allocation", address, device_);
        return text;
    }
    const Allocation& a = std::prev(above)->second;
    snprintf(text, sizeof(text), "at %#lx of device %d, byte %lu of allocation %u%s of %lu bytes", address, device_,
             address - a.begin, a.number, a.freed ? " (freed)" : "", a.bytes);
    return text;
}

}  // namespace cudasim
