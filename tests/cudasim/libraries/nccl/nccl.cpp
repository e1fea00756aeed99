// Stand-in for libnccl.so.2: the functions that the product calls, with NCCL's signatures and results.
#include <climits>
#include <cstring>
#include <map>
#include <mutex>

#include "communicator.h"
#include "hub.h"
#include "reduction.h"

using namespace cudasim;

namespace {

// ncclConfig_t as far as it is looked at.
struct Config {
    size_t size;
    unsigned magic;
    unsigned version;
    int blocking;
    int cgaClusterSize;
    int minCTAs;
    int maxCTAs;
    const char* netName;
    int splitShare;
};

constexpr int UNDEFINED = INT_MIN, NO_COLOR = -1, VERSION = 22903;
constexpr unsigned CONFIG_MAGIC = 0xcafebeef;
// The code that tests plant to let a call hang instead of fail.
constexpr int HANG = -1;

using Handle = void*;

std::mutex& lock() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
}

std::map<Handle, CommunicatorRef>& living() {
    static auto* map = new std::map<Handle, CommunicatorRef>;
    return *map;
}

// What a thread has called between ncclGroupStart and ncclGroupEnd.
struct Group {
    int depth = 0;
    Result error = OK;
    std::vector<CommunicatorRef> order;
    std::map<CommunicatorRef, std::vector<Issue>> calls;
    std::vector<CommunicatorRef> joining;
};

thread_local Group group;

Result refuse(Result result, const std::string& why) {
    setLastError(why);
    if (group.depth > 0) {
        group.error = result;
    }
    return result;
}

CommunicatorRef find(Handle handle, const char* call) {
    std::lock_guard<std::mutex> guard(lock());
    auto found = living().find(handle);
    if (found == living().end()) {
        cudasim_violation("%s: %p is no living communicator", call, handle);
        return nullptr;
    }
    return found->second;
}

CommunicatorRef take(Handle handle, const char* call) {
    CommunicatorRef found = find(handle, call);
    std::lock_guard<std::mutex> guard(lock());
    living().erase(handle);
    return found;
}

Handle publish(const CommunicatorRef& made) {
    std::lock_guard<std::mutex> guard(lock());
    living()[made.get()] = made;
    return made.get();
}

bool within(int value, int least, int most) {
    return value == UNDEFINED || (value >= least && value <= most);
}

Result checkConfig(const Config* config) {
    if (config == nullptr) {
        return OK;
    }
    if (config->magic != CONFIG_MAGIC || config->size < sizeof(Config)) {
        return refuse(INVALID_ARGUMENT, "ncclConfig_t was not initialized: its size or magic is wrong");
    }
    bool sound = within(config->blocking, 0, 1) && within(config->cgaClusterSize, 0, 8) && within(config->minCTAs, 1, INT_MAX) &&
                 within(config->maxCTAs, 1, INT_MAX) && within(config->splitShare, 0, 1);
    return sound ? OK : refuse(INVALID_ARGUMENT, "ncclConfig_t holds a number that its field does not allow");
}

bool isBlocking(const Config* config, bool otherwise) {
    return config == nullptr || config->blocking == UNDEFINED ? otherwise : config->blocking == 1;
}

// Of a communicator that asks to join: the result for its caller, now or at the end of the group.
Result joined(const CommunicatorRef& made, Result started) {
    if (started != IN_PROGRESS) {
        return refuse(started, lastError());
    }
    if (!made->blocking()) {
        return IN_PROGRESS;
    }
    if (group.depth > 0) {
        group.joining.push_back(made);
        return OK;
    }
    return made->awaitJoined();
}

Result launch(std::vector<CommunicatorRef> order, std::map<CommunicatorRef, std::vector<Issue>> calls) {
    Result result = OK;
    for (const CommunicatorRef& communicator : order) {
        Result one = communicator->enqueueGroup(calls[communicator]);
        result = result == OK || result == IN_PROGRESS ? (one == OK ? result : one) : result;
    }
    return result;
}

Result submit(const CommunicatorRef& communicator, const Issue& issue) {
    if (group.depth == 0) {
        return launch({communicator}, {{communicator, {issue}}});
    }
    std::vector<Issue>& calls = group.calls[communicator];
    if (calls.empty()) {
        group.order.push_back(communicator);
    }
    calls.push_back(issue);
    return OK;
}

// Whether two stretches overlap otherwise than as the documentation allows: in place, with an offset.
bool overlaps(const Issue& issue, size_t sendOffset, size_t receiveOffset) {
    const char* send = static_cast<const char*>(issue.send);
    const char* receive = static_cast<const char*>(issue.receive);
    bool apart = send + issue.sendBytes <= receive || receive + issue.receiveBytes <= send;
    return !apart && send + sendOffset != receive + receiveOffset;
}

Result checkPlace(const Communicator& communicator, const void* address, const char* name) {
    int device = cudasim_device_of(address);
    if (device >= 0 && device != communicator.device()) {
        cudasim_violation("%s: a buffer lies on device %d, the communicator on %d", name, device, communicator.device());
        return refuse(INVALID_ARGUMENT, std::string(name) + ": a buffer lies on another device than the communicator");
    }
    return OK;
}

struct Arguments {
    const char* name;
    Call call;
    const void* send;
    void* receive;
    Handle handle;
    CUstream stream;
};

// Bytes that a rank gives and gets, in units of the count's bytes.
struct Shares {
    size_t send, receive;
};

Shares sharesOf(const Call& call, int rank, int ranks) {
    size_t all = static_cast<size_t>(ranks), root = call.peer == rank ? 1 : 0;
    switch (call.op) {
        case Op::ALL_REDUCE:
            return {1, 1};
        case Op::ALL_GATHER:
            return {1, all};
        case Op::REDUCE_SCATTER:
            return {all, 1};
        case Op::BROADCAST:
            return {root, 1};
        case Op::REDUCE:
            return {1, root};
        case Op::SEND:
            return {1, 0};
        case Op::RECV:
            return {0, 1};
    }
    return {0, 0};
}

Result make(const Arguments& of) {
    int planted = cudasim_fault(of.name);
    if (planted > 0) {
        return refuse(static_cast<Result>(planted), std::string(of.name) + ": planted by a test");
    }
    CommunicatorRef communicator = find(of.handle, of.name);
    if (communicator == nullptr) {
        return refuse(INVALID_ARGUMENT, std::string(of.name) + ": no living communicator");
    }
    if (Result result = communicator->ready()) {
        return refuse(result, lastError());
    }
    int rank = communicator->rank(), ranks = communicator->ranks();
    size_t bytes = of.call.count * elementBytes(of.call.type);
    if (elementBytes(of.call.type) == 0 || reductionName(of.call.reduction) == nullptr || of.call.peer < 0 || of.call.peer >= ranks) {
        return refuse(INVALID_ARGUMENT, std::string(of.name) + ": an unknown type or reduction, or a rank that does not exist");
    }
    Shares shares = sharesOf(of.call, rank, ranks);
    Issue issue = {of.call, of.send, of.receive, shares.send * bytes, shares.receive * bytes, of.stream, planted == HANG};
    if ((issue.sendBytes > 0 && of.send == nullptr) || (issue.receiveBytes > 0 && of.receive == nullptr)) {
        return refuse(INVALID_ARGUMENT, std::string(of.name) + ": a buffer is null");
    }
    size_t place = static_cast<size_t>(rank) * bytes;
    bool scatters = of.call.op == Op::REDUCE_SCATTER, gathers = of.call.op == Op::ALL_GATHER;
    if (overlaps(issue, scatters ? place : 0, gathers ? place : 0)) {
        cudasim_violation("%s: the buffers overlap, and not as the call in place allows", of.name);
        return refuse(INVALID_ARGUMENT, std::string(of.name) + ": the buffers overlap");
    }
    if (Result result = issue.sendBytes > 0 ? checkPlace(*communicator, of.send, of.name) : OK) {
        return result;
    }
    if (Result result = issue.receiveBytes > 0 ? checkPlace(*communicator, of.receive, of.name) : OK) {
        return result;
    }
    return submit(communicator, issue);
}

Result initialize(const char* name, Handle* handle, int ranks, const UniqueId& id, int rank, const Config* config) {
    int planted = cudasim_fault(name);
    if (planted > 0) {
        return refuse(static_cast<Result>(planted), std::string(name) + ": planted by a test");
    }
    if (handle == nullptr || ranks < 1 || rank < 0 || rank >= ranks || memcmp(id.magic, ID_MAGIC, sizeof(id.magic)) != 0) {
        return refuse(INVALID_ARGUMENT, std::string(name) + ": a rank outside the ranks, or no unique id");
    }
    if (Result result = checkConfig(config)) {
        return result;
    }
    int device = cudasim_current_device();
    if (device < 0) {
        cudasim_violation("%s: the thread has no context", name);
        return refuse(CUDA_ERROR, std::string(name) + ": the thread has no context");
    }
    auto made = std::make_shared<Communicator>(id, device, isBlocking(config, true));
    Frame frame = {Message::INIT};
    frame.rank = rank;
    frame.ranks = ranks;
    *handle = publish(made);
    return joined(made, made->join(frame, planted == HANG));
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
#define COUNT(call)                                                                             \
    if (int planted = cudasim_fault(call)) {                                                    \
        return refuse(static_cast<Result>(planted), std::string(call) + ": planted by a test"); \
    }

EXPORT Result ncclGetVersion(int* version) {
    COUNT("ncclGetVersion")
    if (version == nullptr) {
        return INVALID_ARGUMENT;
    }
    *version = VERSION;
    return OK;
}

EXPORT Result ncclGetUniqueId(UniqueId* id) {
    COUNT("ncclGetUniqueId")
    if (id == nullptr) {
        return INVALID_ARGUMENT;
    }
    return Hub::start(*id) ? OK : refuse(SYSTEM_ERROR, "ncclGetUniqueId: no socket to listen at");
}

EXPORT Result ncclCommInitRank(Handle* handle, int ranks, UniqueId id, int rank) {
    return initialize("ncclCommInitRank", handle, ranks, id, rank, nullptr);
}

EXPORT Result ncclCommInitRankConfig(Handle* handle, int ranks, UniqueId id, int rank, const Config* config) {
    return initialize("ncclCommInitRankConfig", handle, ranks, id, rank, config);
}

EXPORT Result ncclCommSplit(Handle handle, int color, int key, Handle* child, const Config* config) {
    const char* name = "ncclCommSplit";
    int planted = cudasim_fault(name);
    if (planted > 0) {
        return refuse(static_cast<Result>(planted), "ncclCommSplit: planted by a test");
    }
    CommunicatorRef parent = find(handle, name);
    if (parent == nullptr || child == nullptr || color < NO_COLOR) {
        return refuse(INVALID_ARGUMENT, "ncclCommSplit: no living communicator, nowhere to put the part, or a negative color");
    }
    if (Result result = parent->ready()) {
        return refuse(result, lastError());
    }
    if (Result result = checkConfig(config)) {
        return result;
    }
    if (parent->outstanding() > 0) {
        cudasim_violation("ncclCommSplit: calls of the communicator are still under way, which may hang");
    }
    auto made = std::make_shared<Communicator>(parent->id(), parent->device(), isBlocking(config, parent->blocking()));
    Frame frame = {Message::SPLIT};
    frame.rank = parent->rank();
    frame.communicator = parent->identity();
    frame.split = parent->nextSplit();
    frame.color = color;
    frame.key = key;
    Result started = made->join(frame, planted == HANG);
    if (color == NO_COLOR) {
        *child = nullptr;
        made->abort();
        return started == IN_PROGRESS ? OK : refuse(started, lastError());
    }
    *child = publish(made);
    return joined(made, started);
}

EXPORT Result ncclCommGetAsyncError(Handle handle, Result* result) {
    CommunicatorRef communicator = find(handle, "ncclCommGetAsyncError");
    if (communicator == nullptr || result == nullptr) {
        return refuse(INVALID_ARGUMENT, "ncclCommGetAsyncError: no living communicator");
    }
    int planted = cudasim_fault("ncclCommGetAsyncError");
    *result = planted > 0 ? static_cast<Result>(planted) : communicator->poll();
    return OK;
}

// What a communicator says of itself once it is connected.
Result tell(Handle handle, const char* name, int* value, int (Communicator::*property)() const) {
    COUNT(name)
    CommunicatorRef communicator = find(handle, name);
    if (communicator == nullptr || value == nullptr) {
        return refuse(INVALID_ARGUMENT, std::string(name) + ": no living communicator");
    }
    Result result = communicator->ready();
    *value = (communicator.get()->*property)();
    return result;
}

EXPORT Result ncclCommCount(Handle handle, int* count) { return tell(handle, "ncclCommCount", count, &Communicator::ranks); }

EXPORT Result ncclCommUserRank(Handle handle, int* rank) {
    return tell(handle, "ncclCommUserRank", rank, &Communicator::rank);
}

EXPORT Result ncclCommCuDevice(Handle handle, int* device) {
    return tell(handle, "ncclCommCuDevice", device, &Communicator::device);
}

EXPORT Result ncclCommFinalize(Handle handle) {
    COUNT("ncclCommFinalize")
    CommunicatorRef communicator = find(handle, "ncclCommFinalize");
    if (communicator == nullptr) {
        return refuse(INVALID_ARGUMENT, "ncclCommFinalize: no living communicator");
    }
    Result result = communicator->ready();
    return result == OK ? communicator->finalize() : result;
}

EXPORT Result ncclCommDestroy(Handle handle) {
    COUNT("ncclCommDestroy")
    CommunicatorRef communicator = take(handle, "ncclCommDestroy");
    if (communicator == nullptr) {
        return refuse(INVALID_ARGUMENT, "ncclCommDestroy: no living communicator");
    }
    communicator->leave();
    return OK;
}

EXPORT Result ncclCommAbort(Handle handle) {
    COUNT("ncclCommAbort")
    CommunicatorRef communicator = take(handle, "ncclCommAbort");
    if (communicator == nullptr) {
        return refuse(INVALID_ARGUMENT, "ncclCommAbort: no living communicator");
    }
    communicator->abort();
    return OK;
}

EXPORT Result ncclGroupStart() {
    COUNT("ncclGroupStart")
    group.depth++;
    return OK;
}

EXPORT Result ncclGroupEnd() {
    COUNT("ncclGroupEnd")
    if (group.depth == 0) {
        return refuse(INVALID_USAGE, "ncclGroupEnd without ncclGroupStart");
    }
    if (--group.depth > 0) {
        return OK;
    }
    Group ended = std::move(group);
    group = Group();
    if (ended.error != OK) {
        return ended.error;
    }
    Result result = launch(std::move(ended.order), std::move(ended.calls));
    for (const CommunicatorRef& communicator : ended.joining) {
        Result one = communicator->awaitJoined();
        result = result == OK ? one : result;
    }
    return result;
}

EXPORT const char* ncclGetErrorString(Result result) {
    static const char* const texts[] = {
            "no error",         "unhandled cuda error", "unhandled system error",
            "internal error",   "invalid argument",     "invalid usage",
            "remote process exited or there was a network error", "NCCL operation in progress"};
    return result >= OK && result <= IN_PROGRESS ? texts[result] : "unknown result code";
}

EXPORT const char* ncclGetLastError(Handle) {
    return lastError();
}

EXPORT Result ncclAllReduce(const void* send, void* receive, size_t count, int type, int op, Handle comm, CUstream stream) {
    return make({"ncclAllReduce", {Op::ALL_REDUCE, 0, type, op, count}, send, receive, comm, stream});
}

EXPORT Result ncclAllGather(const void* send, void* receive, size_t count, int type, Handle comm, CUstream stream) {
    return make({"ncclAllGather", {Op::ALL_GATHER, 0, type, 0, count}, send, receive, comm, stream});
}

EXPORT Result ncclReduceScatter(const void* send, void* receive, size_t count, int type, int op, Handle comm, CUstream stream) {
    return make({"ncclReduceScatter", {Op::REDUCE_SCATTER, 0, type, op, count}, send, receive, comm, stream});
}

EXPORT Result ncclBroadcast(const void* send, void* receive, size_t count, int type, int root, Handle comm, CUstream stream) {
    return make({"ncclBroadcast", {Op::BROADCAST, root, type, 0, count}, send, receive, comm, stream});
}

EXPORT Result ncclBcast(void* buffer, size_t count, int type, int root, Handle comm, CUstream stream) {
    return ncclBroadcast(buffer, buffer, count, type, root, comm, stream);
}

EXPORT Result ncclReduce(const void* send, void* receive, size_t count, int type, int op, int root, Handle comm, CUstream stream) {
    return make({"ncclReduce", {Op::REDUCE, root, type, op, count}, send, receive, comm, stream});
}

EXPORT Result ncclSend(const void* send, size_t count, int type, int peer, Handle comm, CUstream stream) {
    return make({"ncclSend", {Op::SEND, peer, type, 0, count}, send, nullptr, comm, stream});
}

EXPORT Result ncclRecv(void* receive, size_t count, int type, int peer, Handle comm, CUstream stream) {
    return make({"ncclRecv", {Op::RECV, peer, type, 0, count}, nullptr, receive, comm, stream});
}
