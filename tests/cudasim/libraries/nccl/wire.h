// What ranks and their hub say to each other over a local socket.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace cudasim {

// Values of ncclResult_t.
enum Result : int {
    OK = 0,
    CUDA_ERROR = 1,
    SYSTEM_ERROR = 2,
    INTERNAL_ERROR = 3,
    INVALID_ARGUMENT = 4,
    INVALID_USAGE = 5,
    REMOTE_ERROR = 6,
    IN_PROGRESS = 7
};

enum class Op : int32_t { ALL_REDUCE, ALL_GATHER, REDUCE_SCATTER, BROADCAST, REDUCE, SEND, RECV };

// One NCCL call. The peer is a root or the other side of a transfer; count is the one that the function takes.
struct Call {
    Op op;
    int32_t peer;
    int32_t type;
    int32_t reduction;
    uint64_t count;

    bool transfers() const { return op == Op::SEND || op == Op::RECV; }
    bool operator==(const Call& o) const {
        return op == o.op && peer == o.peer && type == o.type && reduction == o.reduction && count == o.count;
    }
};

std::string describe(const Call& call);

enum class Message : uint32_t {
    // A rank to the hub.
    INIT,
    SPLIT,
    CALL,
    LEAVE,
    // The hub to a rank.
    JOINED,
    RESULT,
    FAILED
};

struct Frame {
    Message message;
    int32_t rank = -1;
    int32_t ranks = 0;
    // Of a call: its place in its group, and how many the group has.
    int32_t index = 0;
    int32_t total = 0;
    // Of a split: which one of the parent's, and what its call says.
    int32_t split = 0;
    int32_t color = 0;
    int32_t key = 0;
    int32_t device = -1;
    // Of a failure: what the communicator says, and whether this rank reports a violation.
    int32_t result = 0;
    int32_t report = 0;
    int64_t process = 0;
    uint64_t communicator = 0;
    // Of a call or result: which group of the rank it belongs to.
    uint64_t ticket = 0;
    Call call = {};
    uint64_t payloadBytes = 0;
};

constexpr size_t SECRET_BYTES = 32;

// The 128 bytes of ncclUniqueId: where the hub listens, and what only its ranks know.
struct UniqueId {
    char magic[16];
    char name[80];
    unsigned char secret[SECRET_BYTES];
};
static_assert(sizeof(UniqueId) == 128, "ncclUniqueId has 128 bytes");

constexpr char ID_MAGIC[16] = "cudasim nccl";

// A socket that listens under a name in this host's memory; -1 if that fails.
int listenAt(const std::string& name);
int connectTo(const std::string& name);

// False when the other side is gone.
bool sendFrame(int socket, Frame frame, const void* payload, size_t bytes);
bool receiveFrame(int socket, Frame& frame, std::vector<char>& payload);
bool sendBytes(int socket, const void* bytes, size_t count);
bool receiveBytes(int socket, void* bytes, size_t count);

}  // namespace cudasim
