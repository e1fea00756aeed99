// A rank's end of a communicator: its connection to the hub, its state, the order of its calls.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "../work.h"
#include "wire.h"

namespace cudasim {

// A call with its buffers in the memory of the device.
struct Issue {
    Call call;
    const void* send;
    void* receive;
    size_t sendBytes, receiveBytes;
    CUstream stream;
    // Planted by a test: the call never reaches the others.
    bool hangs;
};

class Communicator : public std::enable_shared_from_this<Communicator> {
   public:
    Communicator(const UniqueId& id, int device, bool blocking) : id_(id), device_(device), blocking_(blocking) {}

    // Sends who this rank is; the hub's answer changes the state. A rank that hangs sends nothing.
    Result join(Frame frame, bool hangs);
    // Waits until the answer is there.
    Result awaitJoined();

    int rank() const { return rank_; }
    int ranks() const { return ranks_; }
    int device() const { return device_; }
    bool blocking() const { return blocking_; }
    uint64_t identity() const { return identity_; }
    const UniqueId& id() const { return id_; }

    // What ncclCommGetAsyncError says. A poll may end a call that is in progress.
    Result poll();
    // What keeps a call from being made now.
    Result ready();
    // How many calls have not run yet.
    size_t outstanding();
    int nextSplit() { return splits_++; }

    // Enqueues the calls of one group; IN_PROGRESS when a connection to a peer has to be made first, as non-blocking ones do.
    Result enqueueGroup(const std::vector<Issue>& issues);
    // Flushes: IN_PROGRESS until every call ran.
    Result finalize();
    // Waits for every call, then says farewell.
    void leave();
    // Lets go of everything that waits, without farewell.
    void abort();

   private:
    // The turn of a group among the communicator's; given back when the work is released, whether it ran or not.
    struct Turn;

    void listen();
    void fail(Result result, const std::string& why);
    void perform(const std::vector<Issue>& issues, Turn* turn);
    void exchange(const std::vector<Issue>& issues, uint64_t ticket);
    bool letGo() const;
    void awaitCalls(std::unique_lock<std::mutex>& guard);

    const UniqueId id_;
    const int device_;
    const bool blocking_;
    int socket_ = -1;
    std::mutex mutex_, sending_;
    std::condition_variable changed_;
    Result state_ = IN_PROGRESS;
    bool aborted_ = false, finalizing_ = false;
    // Polls that a non-blocking call in progress still takes.
    int polls_ = 0;
    int rank_ = -1, ranks_ = 0, splits_ = 0;
    uint64_t identity_ = 0;
    std::set<int> connected_;
    // Groups in the order of their calls: the next to be handed out, the one whose turn it is, and those that ended early.
    uint64_t issued_ = 0, turn_ = 0, tickets_ = 0;
    std::set<uint64_t> ended_;
    bool running_ = false;
    // Of the latest call.
    CUstream stream_ = nullptr;
    std::map<std::pair<uint64_t, int>, std::vector<char>> inbox_;
};

using CommunicatorRef = std::shared_ptr<Communicator>;

// What ncclGetLastError says.
void setLastError(const std::string& text);
const char* lastError();

}  // namespace cudasim
