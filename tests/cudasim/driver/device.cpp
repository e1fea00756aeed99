#include "device.h"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "cudasim.h"

namespace cudasim {

namespace {

thread_local Device* running_on = nullptr;
thread_local const Task* running = nullptr;

long setting(const char* name, long otherwise) {
    const char* text = getenv(name);
    return text == nullptr ? otherwise : atol(text);
}

// The device that an entry of CUDA_VISIBLE_DEVICES names, by index or the beginning of a UUID that no other has; -1 for none. A GPU
// that is split stands for its first instance.
int named(const std::string& entry) {
    int match = -1;
    auto consider = [&](const std::string& uuid, int ordinal) {
        if (entry.size() > 4 && uuid.compare(0, entry.size(), entry) == 0) {
            match = match == -1 ? ordinal : -2;
        }
    };
    for (int gpu = 0; gpu < gpu_count(); gpu++) {
        if (entry == std::to_string(gpu)) {
            return first_device(gpu);
        }
        consider(gpu_uuid(gpu), first_device(gpu));
    }
    for (int x = 0; x < device_count(); x++) {
        if (device(x)->is_instance()) {
            consider(device(x)->uuid(), x);
        }
    }
    return match < 0 ? -1 : match;
}

// What CUDA_VISIBLE_DEVICES names, up to the first that does not exist; where there are MIG instances the first of them alone.
std::vector<int> visible() {
    std::vector<int> found;
    const char* list = getenv("CUDA_VISIBLE_DEVICES");
    for (int x = 0; list == nullptr && x < device_count(); x++) {
        found.push_back(x);
    }
    std::string names = list == nullptr ? "" : list;
    for (size_t at = 0; at < names.size();) {
        size_t end = std::min(names.find(',', at), names.size());
        int match = named(names.substr(at, end - at));
        if (match < 0) {
            break;
        }
        found.push_back(match);
        at = end + 1;
    }
    auto instance = std::find_if(found.begin(), found.end(), [](int x) { return device(x)->is_instance(); });
    return instance == found.end() ? found : std::vector<int>{*instance};
}

}  // namespace

int gpu_count() {
    static const int count = static_cast<int>(setting("CUDASIM_DEVICES", 1));
    return count;
}

int instances(int gpu) {
    static const int each = static_cast<int>(setting("CUDASIM_MIG", 0));
    static const int split = [] {
        const char* text = getenv("CUDASIM_MIG");
        const char* colon = text == nullptr ? nullptr : strchr(text, ':');
        return colon == nullptr ? gpu_count() : atoi(colon + 1);
    }();
    return gpu < split ? each : 0;
}

int first_device(int gpu) {
    int first = 0;
    for (int x = 0; x < gpu; x++) {
        first += std::max(1, instances(x));
    }
    return first;
}

int device_count() {
    static const int count = first_device(gpu_count());
    return count;
}

std::string gpu_uuid(int gpu) {
    char text[64];
    snprintf(text, sizeof(text), "GPU-%08x-c0da-51b0-8000-00000000%04x", 0x51a7ed00 + gpu, gpu);
    return text;
}

Device* device(int ordinal) {
    // Never destroyed: threads of the process use them until its end.
    static std::vector<Device*>* devices = [] {
        auto* made = new std::vector<Device*>;
        size_t memory = static_cast<size_t>(setting("CUDASIM_MEMORY_MB", 2048)) << 20;
        for (int gpu = 0; gpu < gpu_count(); gpu++) {
            int parts = std::max(1, instances(gpu));
            for (int x = 0; x < parts; x++) {
                made->push_back(new Device(first_device(gpu) + x, memory / static_cast<size_t>(parts)));
            }
        }
        return made;
    }();
    return (*devices)[static_cast<size_t>(ordinal)];
}

int visible_count() {
    static const size_t count = visible().size();
    return static_cast<int>(count);
}

Device* visible_device(int position) {
    static const std::vector<int> all = visible();
    return position >= 0 && position < visible_count() ? device(all[static_cast<size_t>(position)]) : nullptr;
}

Device::Device(int ordinal, size_t memory)
    : ordinal_(ordinal), memory_(ordinal, memory), order_(static_cast<unsigned>(setting("CUDASIM_SEED", 1)) + static_cast<unsigned>(ordinal)) {
    std::thread([this] { run(); }).detach();
}

int Device::gpu() const {
    int gpu = 0;
    while (first_device(gpu + 1) <= ordinal_) {
        gpu++;
    }
    return gpu;
}

bool Device::is_instance() const { return instances(gpu()) > 0; }

std::string Device::uuid() const {
    if (!is_instance()) {
        return gpu_uuid(gpu());
    }
    char text[64];
    snprintf(text, sizeof(text), "MIG-%08x-c0da-51b0-8000-00000000%04x", 0x3163ed00 + ordinal_, ordinal_);
    return text;
}

std::string Device::name() const {
    std::string whole = "Simulated H100 (brazier cudasim)";
    return is_instance() ? whole + " MIG 1g." + std::to_string(memory_.capacity() >> 20) + "mb" : whole;
}

TaskRef Device::enqueue(Stream& stream, std::shared_ptr<const Work> work) {
    std::vector<TaskRef> needs = std::move(stream.awaited);
    stream.awaited.clear();
    if (stream.last != nullptr) {
        needs.push_back(stream.last);
    }
    stream.last = add(std::move(work), stream.line, ++stream.number, std::move(needs));
    return stream.last;
}

TaskRef Device::add(std::shared_ptr<const Work> work, uint32_t line, uint32_t number, std::vector<TaskRef> needs) {
    auto task = std::make_shared<Task>();
    task->work = std::move(work);
    task->line = line;
    task->number = number;
    task->clock = host_;
    for (const TaskRef& need : needs) {
        join(task->clock, need->clock);
        if (!need->done) {
            task->needs.push_back(need);
        }
    }
    if (line >= task->clock.size()) {
        task->clock.resize(line + 1);
    }
    task->clock[line] = number;
    task->id = remember(*task);
    pending_.push_back(task);
    added_++;
    newest_ = std::chrono::steady_clock::now();
    changed_.notify_all();
    return task;
}

int Device::wait(std::unique_lock<std::mutex>& lock, const TaskRef& task) {
    released_ = added_;
    changed_.notify_all();
    if (task != nullptr) {
        changed_.wait(lock, [&] { return task->done.load(); });
        join(host_, task->clock);
    }
    return error_;
}

int Device::wait_for_all(std::unique_lock<std::mutex>& lock) {
    for (Stream* stream : std::set<Stream*>(streams)) {
        if (streams.count(stream) > 0) {
            wait(lock, stream->last);
        }
    }
    return error_;
}

bool Device::finished(const TaskRef& task) {
    released_ = added_;
    changed_.notify_all();
    if (task == nullptr || task->done) {
        if (task != nullptr) {
            join(host_, task->clock);
        }
        return true;
    }
    return false;
}

void Device::fail(int error) {
    if (error_ == 0) {
        error_ = error;
    }
}

void Device::run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
        changed_.wait(lock, [&] { return !pending_.empty(); });
        if (released_ < added_) {
            changed_.wait_until(lock, newest_ + kPatience, [&] { return released_ == added_; });
            if (released_ < added_ && std::chrono::steady_clock::now() < newest_ + kPatience) {
                continue;
            }
            released_ = added_;
        }
        TaskRef task = choose();
        if (task == nullptr) {
            changed_.wait(lock);
            continue;
        }
        execute(lock, task);
    }
}

// One of those that are ready, at random.
TaskRef Device::choose() {
    std::vector<size_t> ready;
    for (size_t x = 0; x < pending_.size(); x++) {
        const TaskRef& task = pending_[x];
        if (!task->started && std::all_of(task->needs.begin(), task->needs.end(), [](const TaskRef& need) { return need->done.load(); })) {
            ready.push_back(x);
        }
        if (ready.size() == 8) {
            break;
        }
    }
    return ready.empty() ? nullptr : pending_[ready[order_() % ready.size()]];
}

void Device::execute(std::unique_lock<std::mutex>& lock, const TaskRef& task) {
    task->started = true;
    task->needs.clear();
    auto finish = [this, task] {
        pending_.erase(std::find(pending_.begin(), pending_.end(), task));
        task->ended = std::chrono::steady_clock::now();
        task->done = true;
        changed_.notify_all();
    };
    if (error_ == 0) {
        fail(check_ranges(*task));
    }
    if (error_ != 0 || !task->work->run) {
        finish();
        return;
    }
    if (task->work->blocking) {
        std::thread([this, task, finish] {
            int result = task->work->run();
            std::lock_guard<std::mutex> relock(mutex_);
            fail(result);
            finish();
        }).detach();
        return;
    }
    running_on = this;
    running = task.get();
    fail(task->work->run());
    running = nullptr;
    running_on = nullptr;
    finish();
    // Host threads that want the device get it between two tasks.
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
}

int Device::check_ranges(const Task& task) {
    for (bool write : {false, true}) {
        for (const Range& range : task.work->ranges) {
            if (range.write == write && range.bytes > 0) {
                if (int error = memory_.access(task, range.address, range.bytes, write)) {
                    return error;
                }
            }
        }
    }
    return 0;
}

int Device::access(const void* address, size_t bytes, bool write) {
    auto at = reinterpret_cast<uint64_t>(address);
    if (!running_on->memory_.holds(at)) {
        cudasim_violation("%s %s %zu bytes at %p, which is no memory of device %d", running->work->what.c_str(),
                          write ? "writes" : "reads", bytes, address, running_on->ordinal_);
        return 700;
    }
    return running_on->memory_.access(*running, at, bytes, write);
}

bool Device::runs_task() { return running != nullptr; }

}  // namespace cudasim

extern "C" int cudasim_read(const void* address, size_t bytes) { return cudasim::Device::access(address, bytes, false); }

extern "C" int cudasim_write(const void* address, size_t bytes) { return cudasim::Device::access(address, bytes, true); }

extern "C" int cudasim_device_of(const void* address) {
    for (int x = 0; x < cudasim::device_count(); x++) {
        if (cudasim::device(x)->memory().holds(reinterpret_cast<uint64_t>(address))) {
            return x;
        }
    }
    return -1;
}
