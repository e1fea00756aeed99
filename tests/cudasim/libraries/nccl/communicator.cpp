#include "communicator.h"

#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

// Of the stand-in libcuda.
extern "C" {
int cuStreamIsCapturing(CUstream stream, int* status);
int cuStreamQuery(CUstream stream);
int cuEventCreate(void** event, unsigned flags);
int cuEventRecord(void* event, CUstream stream);
int cuEventDestroy_v2(void* event);
int cuStreamWaitEvent(CUstream stream, void* event, unsigned flags);
}

namespace cudasim {

namespace {

constexpr int COLLECTIVES = -1;

std::mutex& errorLock() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
}

std::string& errorText() {
    static std::string* text = new std::string;
    return *text;
}

bool capturing(CUstream stream) {
    int status = 0;
    cuStreamIsCapturing(stream, &status);
    return status != 0;
}

// Lets one stream wait for what another has been given.
int order(CUstream before, CUstream after) {
    void* event = nullptr;
    int error = cuEventCreate(&event, 2);
    if (error == 0) {
        error = cuEventRecord(event, before);
        error = error == 0 ? cuStreamWaitEvent(after, event, 0) : error;
        cuEventDestroy_v2(event);
    }
    return error;
}

}  // namespace

void setLastError(const std::string& text) {
    std::lock_guard<std::mutex> guard(errorLock());
    errorText() = text;
}

const char* lastError() {
    // A copy per thread, so that another error cannot change a text that is being read.
    static thread_local std::string copy;
    std::lock_guard<std::mutex> guard(errorLock());
    copy = errorText();
    return copy.c_str();
}

struct Communicator::Turn {
    CommunicatorRef owner;
    uint64_t number;
    bool ended = false;

    ~Turn() { end(); }

    // Once, whether the work ran or was dropped.
    void end() {
        std::lock_guard<std::mutex> guard(owner->mutex_);
        if (ended) {
            return;
        }
        ended = true;
        owner->ended_.insert(number);
        while (owner->ended_.erase(owner->turn_) != 0) {
            owner->turn_++;
        }
        owner->changed_.notify_all();
    }
};

Result Communicator::join(Frame frame, bool hangs) {
    rank_ = frame.rank;
    ranks_ = frame.ranks;
    if (hangs) {
        return IN_PROGRESS;
    }
    frame.process = getpid();
    frame.device = device_;
    socket_ = connectTo(id_.name);
    if (socket_ < 0 || !sendBytes(socket_, id_.secret, SECRET_BYTES) || !sendFrame(socket_, frame, nullptr, 0)) {
        close(socket_);
        socket_ = -1;
        fail(SYSTEM_ERROR, "nobody listens where the unique id points: the process that made it has ended");
        return SYSTEM_ERROR;
    }
    std::thread([self = shared_from_this()] { self->listen(); }).detach();
    return IN_PROGRESS;
}

Result Communicator::awaitJoined() {
    std::unique_lock<std::mutex> guard(mutex_);
    changed_.wait(guard, [&] { return state_ != IN_PROGRESS || aborted_; });
    return state_;
}

void Communicator::listen() {
    Frame frame;
    std::vector<char> payload;
    while (receiveFrame(socket_, frame, payload)) {
        if (frame.message == Message::FAILED) {
            std::string why(payload.begin(), payload.end());
            if (frame.report != 0) {
                cudasim_violation("NCCL: %s", why.c_str());
            }
            fail(static_cast<Result>(frame.result), why);
            continue;
        }
        std::lock_guard<std::mutex> guard(mutex_);
        if (frame.message == Message::JOINED) {
            identity_ = frame.communicator;
            rank_ = frame.rank;
            ranks_ = frame.ranks;
            state_ = state_ == IN_PROGRESS ? OK : state_;
        } else {
            inbox_[{frame.ticket, frame.index}] = std::move(payload);
            payload = {};
        }
        changed_.notify_all();
    }
    fail(REMOTE_ERROR, "the connection to the other ranks broke");
    std::scoped_lock guard(sending_, mutex_);
    close(socket_);
    socket_ = -1;
}

void Communicator::fail(Result result, const std::string& why) {
    std::lock_guard<std::mutex> guard(mutex_);
    if (state_ == OK || state_ == IN_PROGRESS) {
        state_ = result;
        if (!aborted_) {
            setLastError(why);
        }
    }
    changed_.notify_all();
}

Result Communicator::poll() {
    std::lock_guard<std::mutex> guard(mutex_);
    if (state_ == OK && polls_ > 0) {
        polls_--;
        return IN_PROGRESS;
    }
    return state_ == OK && finalizing_ && turn_ < issued_ ? IN_PROGRESS : state_;
}

Result Communicator::ready() {
    std::lock_guard<std::mutex> guard(mutex_);
    if (state_ == IN_PROGRESS || polls_ > 0) {
        setLastError("a communicator was used before its previous call ended: poll ncclCommGetAsyncError first");
        return INVALID_ARGUMENT;
    }
    if (finalizing_) {
        setLastError("a communicator was used after ncclCommFinalize");
        return INVALID_ARGUMENT;
    }
    return state_;
}

size_t Communicator::outstanding() {
    std::lock_guard<std::mutex> guard(mutex_);
    return issued_ - turn_;
}

Result Communicator::enqueueGroup(const std::vector<Issue>& issues) {
    CUstream stream = issues.front().stream;
    Ranges ranges;
    std::set<CUstream> others;
    std::set<int> peers;
    std::string what;
    for (const Issue& issue : issues) {
        ranges.read(issue.send, issue.sendBytes);
        peers.insert(issue.call.transfers() ? issue.call.peer : COLLECTIVES);
        if (issue.stream != stream) {
            others.insert(issue.stream);
        }
        what += (what.empty() ? "" : " + ") + describe(issue.call);
    }
    for (const Issue& issue : issues) {
        ranges.write(issue.receive, issue.receiveBytes);
    }
    int error = 0;
    for (CUstream other : others) {
        error = error == 0 ? order(other, stream) : error;
    }
    std::shared_ptr<Turn> turn;
    if (!capturing(stream)) {
        std::lock_guard<std::mutex> guard(mutex_);
        turn.reset(new Turn{shared_from_this(), issued_++});
        stream_ = stream;
    }
    error = error != 0 ? error : enqueue(stream, what, ranges, true, [self = shared_from_this(), issues, turn] {
        self->perform(issues, turn.get());
        if (turn != nullptr) {
            turn->end();
        }
    });
    for (CUstream other : others) {
        error = error == 0 ? order(stream, other) : error;
    }
    if (error != 0) {
        setLastError("CUDA error " + std::to_string(error) + " in " + what);
        return CUDA_ERROR;
    }
    std::lock_guard<std::mutex> guard(mutex_);
    size_t known = connected_.size();
    connected_.insert(peers.begin(), peers.end());
    if (blocking_ || connected_.size() == known) {
        return OK;
    }
    polls_ = 1;
    return IN_PROGRESS;
}

// Aborted, or told that the ranks do not fit together. A rank that died leaves the others waiting, as on a GPU, until they abort.
bool Communicator::letGo() const {
    return aborted_ || (state_ != OK && state_ != IN_PROGRESS && state_ != REMOTE_ERROR);
}

void Communicator::perform(const std::vector<Issue>& issues, Turn* turn) {
    uint64_t ticket;
    {
        std::unique_lock<std::mutex> guard(mutex_);
        changed_.wait(guard, [&] { return letGo() || (!running_ && (turn == nullptr || turn_ == turn->number)); });
        if (letGo()) {
            if (turn == nullptr && aborted_) {
                cudasim_violation("NCCL: a graph runs %s of a communicator that was destroyed", describe(issues.front().call).c_str());
            }
            return;
        }
        running_ = true;
        ticket = tickets_++;
    }
    exchange(issues, ticket);
    std::lock_guard<std::mutex> guard(mutex_);
    running_ = false;
    changed_.notify_all();
}

void Communicator::exchange(const std::vector<Issue>& issues, uint64_t ticket) {
    bool hangs = std::any_of(issues.begin(), issues.end(), [](const Issue& issue) { return issue.hangs; });
    for (size_t i = 0; i < issues.size() && !hangs; i++) {
        Frame frame = {Message::CALL};
        frame.communicator = identity_;
        frame.rank = rank_;
        frame.ticket = ticket;
        frame.index = static_cast<int32_t>(i);
        frame.total = static_cast<int32_t>(issues.size());
        frame.call = issues[i].call;
        std::lock_guard<std::mutex> guard(sending_);
        sendFrame(socket_, frame, issues[i].send, issues[i].sendBytes);
    }
    std::unique_lock<std::mutex> guard(mutex_);
    changed_.wait(guard, [&] { return letGo() || inbox_.size() == issues.size(); });
    if (!letGo()) {
        for (size_t i = 0; i < issues.size(); i++) {
            const std::vector<char>& payload = inbox_[{ticket, static_cast<int>(i)}];
            memcpy(issues[i].receive, payload.data(), payload.size());
        }
    }
    inbox_.clear();
}

Result Communicator::finalize() {
    std::unique_lock<std::mutex> guard(mutex_);
    finalizing_ = true;
    if (!blocking_) {
        return IN_PROGRESS;
    }
    awaitCalls(guard);
    return state_;
}

// Calls on a device that failed never run.
void Communicator::awaitCalls(std::unique_lock<std::mutex>& guard) {
    constexpr int NOT_READY = 600;
    while (!changed_.wait_for(guard, std::chrono::milliseconds(50), [&] { return turn_ == issued_ || state_ != OK; })) {
        CUstream stream = stream_;
        guard.unlock();
        int state = cuStreamQuery(stream);
        guard.lock();
        if (state != 0 && state != NOT_READY) {
            return;
        }
    }
}

void Communicator::leave() {
    {
        std::unique_lock<std::mutex> guard(mutex_);
        awaitCalls(guard);
        // What a graph still holds finds nobody.
        aborted_ = true;
        changed_.notify_all();
    }
    Frame frame = {Message::LEAVE};
    frame.communicator = identity_;
    frame.rank = rank_;
    std::scoped_lock guard(sending_, mutex_);
    sendFrame(socket_, frame, nullptr, 0);
    shutdown(socket_, SHUT_RDWR);
}

void Communicator::abort() {
    std::lock_guard<std::mutex> guard(mutex_);
    aborted_ = true;
    if (socket_ >= 0) {
        shutdown(socket_, SHUT_RDWR);
    }
    changed_.notify_all();
}

}  // namespace cudasim
