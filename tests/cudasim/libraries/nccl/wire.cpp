#include "wire.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "reduction.h"

namespace cudasim {

namespace {

// Names of the abstract space: they leave no file behind when a process is killed.
socklen_t fill(sockaddr_un& address, const std::string& name) {
    memset(&address, 0, sizeof(address));
    address.sun_family = AF_UNIX;
    size_t bytes = std::min(name.size(), sizeof(address.sun_path) - 1);
    memcpy(address.sun_path + 1, name.data(), bytes);
    return static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + 1 + bytes);
}

const char* nameOf(Op op) {
    switch (op) {
        case Op::ALL_REDUCE:
            return "ncclAllReduce";
        case Op::ALL_GATHER:
            return "ncclAllGather";
        case Op::REDUCE_SCATTER:
            return "ncclReduceScatter";
        case Op::BROADCAST:
            return "ncclBroadcast";
        case Op::REDUCE:
            return "ncclReduce";
        case Op::SEND:
            return "ncclSend";
        case Op::RECV:
            return "ncclRecv";
    }
    return "an unknown call";
}

}  // namespace

std::string describe(const Call& call) {
    std::string text = std::string(nameOf(call.op)) + "(count " + std::to_string(call.count) + ", " + typeName(call.type);
    switch (call.op) {
        case Op::ALL_REDUCE:
        case Op::REDUCE_SCATTER:
            return text + ", " + reductionName(call.reduction) + ")";
        case Op::REDUCE:
            return text + ", " + reductionName(call.reduction) + ", root " + std::to_string(call.peer) + ")";
        case Op::BROADCAST:
            return text + ", root " + std::to_string(call.peer) + ")";
        case Op::SEND:
        case Op::RECV:
            return text + ", peer " + std::to_string(call.peer) + ")";
        case Op::ALL_GATHER:
            break;
    }
    return text + ")";
}

int listenAt(const std::string& name) {
    sockaddr_un address;
    socklen_t bytes = fill(address, name);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made >= 0 && (bind(made, reinterpret_cast<sockaddr*>(&address), bytes) != 0 || listen(made, 256) != 0)) {
        close(made);
        return -1;
    }
    return made;
}

int connectTo(const std::string& name) {
    sockaddr_un address;
    socklen_t bytes = fill(address, name);
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made >= 0 && connect(made, reinterpret_cast<sockaddr*>(&address), bytes) != 0) {
        close(made);
        return -1;
    }
    return made;
}

bool sendBytes(int socket, const void* bytes, size_t count) {
    const char* next = static_cast<const char*>(bytes);
    while (count > 0) {
        ssize_t sent = send(socket, next, count, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            return false;
        }
        next += sent;
        count -= static_cast<size_t>(sent);
    }
    return true;
}

bool receiveBytes(int socket, void* bytes, size_t count) {
    char* next = static_cast<char*>(bytes);
    while (count > 0) {
        ssize_t got = recv(socket, next, count, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        next += got;
        count -= static_cast<size_t>(got);
    }
    return true;
}

bool sendFrame(int socket, Frame frame, const void* payload, size_t bytes) {
    frame.payloadBytes = bytes;
    return sendBytes(socket, &frame, sizeof(frame)) && sendBytes(socket, payload, bytes);
}

bool receiveFrame(int socket, Frame& frame, std::vector<char>& payload) {
    if (!receiveBytes(socket, &frame, sizeof(frame))) {
        return false;
    }
    payload.resize(frame.payloadBytes);
    return receiveBytes(socket, payload.data(), payload.size());
}

}  // namespace cudasim
