// A simulated device: its memory, and the tasks that wait to run on it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <deque>
#include <map>
#include <mutex>
#include <random>
#include <set>
#include <string>
#include <thread>

#include "clocks.h"
#include "memory.h"

namespace cudasim {

using TaskRef = std::shared_ptr<Task>;

struct Event;
struct Capture;

struct Stream {
    int device;
    uint32_t line;
    uint32_t number = 0;
    TaskRef last;
    // What the next task has to wait for besides the last one: events.
    std::vector<TaskRef> awaited;
    Capture* capture = nullptr;
};

struct Event {
    int device;
    bool timed;
    TaskRef recorded;
    // When it was recorded last; the clock's epoch if never.
    std::chrono::steady_clock::time_point recorded_at;
    // While recorded by a capturing stream: the capture, and the nodes that came before.
    Capture* capture = nullptr;
    std::set<int> nodes;
};

// Work waits until somebody waits for it, or for a moment: a program that forgets to wait reads what is not there yet. What is ready
// runs one at a time, in an order that nobody may rely on.
class Device {
   public:
    Device(int ordinal, size_t memory);

    int ordinal() const { return ordinal_; }
    // The GPU that it is, or a MIG instance of.
    int gpu() const;
    bool is_instance() const;
    std::string uuid() const;
    std::string name() const;
    // Guards everything below and the streams and events of the device.
    std::mutex& mutex() { return mutex_; }
    Memory& memory() { return memory_; }

    // Adds a run of some work behind a stream's tasks.
    TaskRef enqueue(Stream& stream, std::shared_ptr<const Work> work);
    // Adds a task with needs of its own.
    TaskRef add(std::shared_ptr<const Work> work, uint32_t line, uint32_t number, std::vector<TaskRef> needs);
    // Lets everything run and waits for a task; what the host does next comes after it. The error of the device, 0 for none.
    int wait(std::unique_lock<std::mutex>& lock, const TaskRef& task);
    int wait_for_all(std::unique_lock<std::mutex>& lock);
    bool finished(const TaskRef& task);

    int error() const { return error_; }
    void fail(int error);
    unsigned primary_references = 0;
    std::set<Stream*> streams;

    // Judges an access by the task that runs on the calling thread.
    static int access(const void* address, size_t bytes, bool write);
    static bool runs_task();

   private:
    static constexpr std::chrono::milliseconds kPatience{20};

    void run();
    TaskRef choose();
    void execute(std::unique_lock<std::mutex>& lock, const TaskRef& task);
    int check_ranges(const Task& task);

    int ordinal_;
    Memory memory_;
    std::mutex mutex_;
    std::condition_variable changed_;
    std::deque<TaskRef> pending_;
    Clock host_;
    std::mt19937 order_;
    uint64_t released_ = 0, added_ = 0;
    std::chrono::steady_clock::time_point newest_;
    int error_ = 0;
};

// A device is a GPU, or a MIG instance of one that is split, in the order of GPUs. CUDASIM_MIG = 2 splits each into two, 2:1 the first.
Device* device(int ordinal);
int device_count();
int gpu_count();
int instances(int gpu);  // 0 where it is whole
int first_device(int gpu);
std::string gpu_uuid(int gpu);
// By position among the devices that the process may see.
int visible_count();
Device* visible_device(int position);

}  // namespace cudasim
