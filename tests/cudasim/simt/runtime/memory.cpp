// Judges the accesses of kernels to memory.
#include <cstring>

#include "engine.h"
#include "host.h"

namespace cudasim {

namespace {


const char* verb(Access kind) {
    return kind == Access::kRead ? "reads" : kind == Access::kWrite ? "writes" : "atomically updates";
}

}  // namespace

std::string Engine::line_of(Site site) const {
    return site.code == nullptr ? text(*site.place) : module_->lines(site.code);
}

void Engine::access(const void* address, unsigned bytes, Access kind, const void* code) {
    if (checked_) {
        judge(address, bytes, kind, {code, nullptr});
    }
}

void Engine::judge(const void* address, size_t bytes, Access kind, Site site) {
    current_->worked |= kind != Access::kRead;
    if (kind == Access::kAtomic && reinterpret_cast<uint64_t>(address) % bytes != 0) {
        fail(kMisaligned, line_of(site), "an atomic of %zu bytes at %p, which is not a multiple of them", bytes, address);
    }
    long offset = shared_offset(address, bytes, site);
    if (offset >= 0) {
        judge_shared(static_cast<size_t>(offset), bytes, kind, site);
        return;
    }
    if (module_->in_image(reinterpret_cast<uint64_t>(address))) {
        if (kind != Access::kRead) {
            fail(kIllegalAddress, line_of(site), "%s %zu bytes outside of any shared array", verb(kind), bytes);
        }
        return;
    }
    global_access_ = site;
    int error = 0;
    if (kind != Access::kWrite) {
        error = cudasim_read(address, bytes);
    }
    if (kind != Access::kRead && error == 0) {
        error = cudasim_write(address, bytes);
    }
    global_access_ = {};
    if (error != 0) {
        error_ = error;
        leave_block();
    }
    judge_global(address, bytes, kind, site);
}

// One report a launch for each place in the code.
bool Engine::first_report(Site site, int kind) {
    const void* where = site.code != nullptr ? site.code : site.place->file + site.place->line;
    return reported_.insert({where, kind}).second;
}

void Engine::judge_global(const void* address, size_t bytes, Access kind, Site site) {
    GlobalShadow::Clash clash = global_shadow_.access(address, bytes, kind, current_->id);
    if (clash.hazard == Hazard::kNone || !first_report(site, static_cast<int>(clash.hazard))) {
        return;
    }
    const char* what = clash.hazard == Hazard::kReadAfterWrite    ? "has written"
                       : clash.hazard == Hazard::kWriteAfterRead ? "has read"
                                                                  : "has written, too,";
    std::string other = clash.other_block ? "another block" : "thread " + text(threads_[clash.other].index);
    cudasim_violation("%s, at %s: global-memory race: %s %p, which %s %s with nothing between", position().c_str(),
                      line_of(site).c_str(), verb(kind), address, other.c_str(), what);
}

long Engine::shared_offset(const void* address, size_t bytes, Site site) {
    auto at = reinterpret_cast<uint64_t>(address);
    uint64_t in_static = at - static_begin_;
    if (in_static < static_bytes_) {
        const SharedVariable* variable = module_->variable(in_static);
        if (variable == nullptr || in_static + bytes > variable->end) {
            fail(kIllegalAddress, line_of(site), "%zu bytes out of bounds of a shared array, %s", bytes,
                 name_of(in_static).c_str());
        }
        return static_cast<long>(in_static);
    }
    uint64_t in_dynamic = at - reinterpret_cast<uint64_t>(dynamic_);
    if (in_dynamic + kMargin < kMaxDynamicShared + 2 * kMargin) {
        if (in_dynamic + bytes > dynamic_bytes_ || in_dynamic > dynamic_bytes_) {
            fail(kIllegalAddress, line_of(site), "%zu bytes at offset %lld of the launch's %zu bytes of dynamic shared memory", bytes,
                 static_cast<long long>(in_dynamic), dynamic_bytes_);
        }
        return static_cast<long>(static_bytes_ + in_dynamic);
    }
    return -1;
}

// The shared variable and the byte within it, or the nearest before it.
std::string Engine::name_of(size_t offset) const {
    if (offset >= static_bytes_) {
        return "dynamic shared memory + " + std::to_string(offset - static_bytes_);
    }
    for (size_t at = offset + 1; at-- > 0;) {
        if (const SharedVariable* variable = module_->variable(at)) {
            return variable->name + " + " + std::to_string(offset - variable->begin) + " of " +
                   std::to_string(variable->end - variable->begin) + " bytes";
        }
    }
    return "before the first";
}

void Engine::judge_shared(size_t offset, size_t bytes, Access kind, Site site) {
    Conflict conflict = shadow_.access(offset, bytes, kind, current_->id, clocks_[current_->id / kLanes]);
    if (conflict.hazard == Hazard::kNone) {
        return;
    }
    if (!first_report(site, static_cast<int>(conflict.hazard))) {
        return;
    }
    const char* what = "";
    switch (conflict.hazard) {
        case Hazard::kNone:
            return;
        case Hazard::kUnwritten:
            cudasim_violation("%s, at %s: reads shared memory that nobody in the block has written: %s", position().c_str(),
                              line_of(site).c_str(), name_of(offset).c_str());
            return;
        case Hazard::kCopyInFlight:
            cudasim_violation("%s, at %s: reads shared memory that an asynchronous copy without a wait still fills: %s",
                              position().c_str(), line_of(site).c_str(), name_of(offset).c_str());
            return;
        case Hazard::kReadAfterWrite:
            what = "has written";
            break;
        case Hazard::kWriteAfterRead:
            what = "has read";
            break;
        case Hazard::kWriteAfterWrite:
            what = "has written, too,";
            break;
    }
    const Thread& other = threads_[conflict.other];
    std::string others = conflict.hazard == Hazard::kWriteAfterRead && &other == current_
                             ? "threads of several warps, of which one"
                             : "thread " + text(other.index);
    cudasim_violation("%s, at %s: shared-memory race: %s what %s %s with no barrier between: %s", position().c_str(),
                      line_of(site).c_str(), verb(kind), others.c_str(), what, name_of(offset).c_str());
}

// ---- asynchronous copies: the bytes are undefined from here to the wait ----

void Engine::cp_async(void* shared, const void* global, bool valid, Place place) {
    if (reinterpret_cast<uint64_t>(shared) % 16 != 0 || reinterpret_cast<uint64_t>(global) % 16 != 0) {
        fail(kMisaligned, text(place), "cp.async of 16 bytes from %p to %p, which must be multiples of 16", global, shared);
    }
    if (checked_) {
        Site site{nullptr, &place};
        long offset = shared_offset(shared, 16, site);
        if (offset < 0) {
            fail(kLaunchFailed, text(place), "cp.async to %p, which is not in shared memory", shared);
        }
        if (valid) {
            judge(global, 16, Access::kRead, site);
        }
        judge_shared(static_cast<size_t>(offset), 16, Access::kWrite, site);
        shadow_.copy_in_flight(static_cast<size_t>(offset), 16);
    }
    current_->worked = true;
    memset(shared, 0xff, 16);
    current_->copies.push_back({shared, valid ? global : nullptr, current_->copy_groups, place});
}

void Engine::cp_async_wait(int pending) {
    std::vector<Copy>& copies = current_->copies;
    size_t done = 0;
    for (; done < copies.size() && copies[done].group + static_cast<unsigned>(pending) < current_->copy_groups; done++) {
        const Copy& copy = copies[done];
        if (checked_) {
            Site site{nullptr, &copy.place};
            judge_shared(static_cast<size_t>(shared_offset(copy.to, 16, site)), 16, Access::kWrite, site);
        }
        if (copy.from == nullptr) {
            memset(copy.to, 0, 16);
        } else {
            memcpy(copy.to, copy.from, 16);
        }
    }
    copies.erase(copies.begin(), copies.begin() + static_cast<long>(done));
}

// ---- the services by which modules call ----

namespace {

const Services kServices = {
    [](Engine* engine, const void* address, unsigned bytes, Access kind, const void* code) {
        engine->access(address, bytes, kind, code);
    },
    [](Engine* engine, const void* address, unsigned alignment, Place place) {
        engine->fail(kMisaligned, text(place), "misaligned address %p of an access that needs multiples of %u", address,
                     alignment);
    },
    [](Engine* engine, long long index, const char* type, Place place) {
        engine->fail(kIllegalAddress, text(place), "index %lld out of bounds of %s", index, type);
    },
    [](Engine* engine, Place place) { engine->fail(kLaunchFailed, text(place), "integer division by zero"); },
    [](Engine* engine, Place place) { engine->fail(kLaunchFailed, text(place), "__trap"); },
    [](Engine* engine, Place place) { engine->block_barrier(place); },
    [](Engine* engine, unsigned mask, Place place) { engine->warp_barrier(mask, place); },
    [](Engine* engine, unsigned mask, unsigned long long value, int source, Place place) -> unsigned long long {
        return engine->shuffle(mask, value, source, place);
    },
    [](Engine* engine, unsigned mask, bool predicate, Place place) { return engine->ballot(mask, predicate, place); },
    [](Engine* engine, const void* row, int tiles, bool transposed, Place place) {
        return engine->ldmatrix(row, tiles, transposed, place);
    },
    [](Engine* engine, FourFloats d, FourWords a, unsigned b0, unsigned b1, Place place) {
        return engine->mma_bf16({d, a, b0, b1, nullptr, 0, 0}, place);
    },
    [](Engine* engine, void* shared, const void* global, bool valid, Place place) {
        engine->cp_async(shared, global, valid, place);
    },
    [](Engine* engine) { engine->cp_async_commit(); },
    [](Engine* engine, int pending) { engine->cp_async_wait(pending); },
    [](Engine* engine) { engine->fence(); },
};

}  // namespace

const Services& services() { return kServices; }

std::string Engine::where() const {
    bool judged = global_access_.code != nullptr || global_access_.place != nullptr;
    return judged ? position() + ", at " + line_of(global_access_) : "";
}

}  // namespace cudasim

void cudasim_where(char* text, size_t bytes) {
    cudasim::Engine* engine = cudasim::running_engine();
    snprintf(text, bytes, "%s", engine == nullptr ? "" : engine->where().c_str());
}
