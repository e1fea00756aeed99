#include "hub.h"

#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <set>
#include <thread>

#include "reduction.h"

namespace cudasim {

namespace {

// A rank that goes into no part of a split, and need not stay to see it.
constexpr int NO_COLOR = -1;

std::string hex(const unsigned char* bytes, size_t count) {
    static const char digits[] = "0123456789abcdef";
    std::string text;
    for (size_t i = 0; i < count; i++) {
        text += digits[bytes[i] >> 4];
        text += digits[bytes[i] & 15];
    }
    return text;
}

void answer(int socket, Message message, Result result, const std::string& why, bool report) {
    Frame frame = {message};
    frame.result = result;
    frame.report = report ? 1 : 0;
    sendFrame(socket, frame, why.data(), why.size());
}

std::string rankSays(int rank, const Call& call) {
    return "rank " + std::to_string(rank) + " calls " + describe(call);
}

}  // namespace

bool Hub::start(UniqueId& id) {
    unsigned char random[16];
    // Never destroyed: its threads run until the process ends.
    Hub* hub = new Hub;
    bool known = getrandom(random, sizeof(random), 0) == sizeof(random) && getrandom(hub->secret_, SECRET_BYTES, 0) == SECRET_BYTES;
    std::string name = "cudasim-nccl-" + hex(random, sizeof(random));
    hub->listener_ = known ? listenAt(name) : -1;
    if (hub->listener_ < 0) {
        delete hub;
        return false;
    }
    memset(&id, 0, sizeof(id));
    memcpy(id.magic, ID_MAGIC, sizeof(id.magic));
    memcpy(id.name, name.data(), name.size());
    memcpy(id.secret, hub->secret_, SECRET_BYTES);
    std::thread([hub] { hub->accept(); }).detach();
    return true;
}

void Hub::accept() {
    while (true) {
        int socket = ::accept4(listener_, nullptr, nullptr, SOCK_CLOEXEC);
        if (socket >= 0) {
            std::thread([this, socket] { talk(socket); }).detach();
        }
    }
}

void Hub::talk(int socket) {
    unsigned char presented[SECRET_BYTES];
    if (receiveBytes(socket, presented, SECRET_BYTES) && memcmp(presented, secret_, SECRET_BYTES) == 0) {
        Frame frame;
        std::vector<char> payload;
        while (receiveFrame(socket, frame, payload)) {
            std::lock_guard<std::mutex> guard(mutex_);
            handle(socket, frame, std::move(payload));
            payload.clear();
        }
    }
    std::lock_guard<std::mutex> guard(mutex_);
    drop(socket);
    close(socket);
}

void Hub::handle(int socket, const Frame& frame, std::vector<char> payload) {
    if (frame.message == Message::INIT) {
        return init(socket, frame);
    }
    if (frame.message == Message::SPLIT) {
        return split(socket, frame);
    }
    auto at = communicators_.find(frame.communicator);
    if (at == communicators_.end() || at->second.broken) {
        return;
    }
    if (frame.message == Message::LEAVE) {
        at->second.members[static_cast<size_t>(frame.rank)].gone = true;
        searchDeadlock(at->second);
    } else {
        call(at->second, frame, std::move(payload));
    }
}

// A connection that ends without a farewell is a rank that died or aborted.
void Hub::drop(int socket) {
    for (auto& entry : communicators_) {
        Communicator& communicator = entry.second;
        for (size_t rank = 0; rank < communicator.members.size(); rank++) {
            Member& member = communicator.members[rank];
            if (member.socket == socket && !member.gone) {
                member.gone = true;
                fail(communicator, REMOTE_ERROR, "rank " + std::to_string(rank) + " is gone");
            }
            member.socket = member.socket == socket ? -1 : member.socket;
        }
    }
    auto leave = [&](Gathering& gathering) {
        auto& ranks = gathering.ranks;
        auto at = std::find_if(ranks.begin(), ranks.end(), [=](const auto& rank) {
            return rank.first == socket && rank.second.color != NO_COLOR;
        });
        if (at != ranks.end()) {
            ranks.erase(at);
            refuse(gathering, REMOTE_ERROR, "a rank went away while the others waited for all to be there");
        }
    };
    leave(init_);
    for (auto& entry : splits_) {
        leave(entry.second);
    }
}

void Hub::refuse(Gathering& gathering, Result result, const std::string& why) {
    std::set<int64_t> processes;
    for (const auto& rank : gathering.ranks) {
        bool first = processes.insert(rank.second.process).second;
        answer(rank.first, Message::FAILED, result, why, result == INVALID_USAGE && first);
    }
    gathering.ranks.clear();
    gathering.complete = true;
}

void Hub::init(int socket, const Frame& frame) {
    if (init_.complete) {
        return answer(socket, Message::FAILED, INVALID_USAGE, "a unique id makes one communicator, and this one has made its own", true);
    }
    auto& ranks = init_.ranks;
    ranks.push_back({socket, frame});
    for (size_t i = 0; i + 1 < ranks.size(); i++) {
        const Frame& other = ranks[i].second;
        std::string both = "rank " + std::to_string(other.rank) + " of " + std::to_string(other.ranks) + " and rank " +
                           std::to_string(frame.rank) + " of " + std::to_string(frame.ranks);
        if (other.rank == frame.rank || other.ranks != frame.ranks) {
            return refuse(init_, INVALID_USAGE, "ncclCommInitRank: " + both + " contradict each other");
        }
        if (other.process == frame.process && other.device == frame.device) {
            return refuse(init_, INVALID_USAGE, "ncclCommInitRank: " + both + " use one device");
        }
    }
    if (ranks.size() == static_cast<size_t>(frame.ranks)) {
        std::sort(ranks.begin(), ranks.end(), [](const auto& x, const auto& y) { return x.second.rank < y.second.rank; });
        init_.complete = true;
        found(std::move(ranks));
        ranks.clear();
    }
}

void Hub::split(int socket, const Frame& frame) {
    auto parent = communicators_.find(frame.communicator);
    if (parent == communicators_.end() || parent->second.broken) {
        return answer(socket, Message::FAILED, REMOTE_ERROR, "ncclCommSplit: the communicator to split is broken", false);
    }
    auto at = std::make_pair(frame.communicator, frame.split);
    auto& ranks = splits_[at].ranks;
    ranks.push_back({socket, frame});
    if (ranks.size() < parent->second.members.size()) {
        return;
    }
    std::map<int, std::vector<std::pair<int, Frame>>> colors;
    for (const auto& rank : ranks) {
        colors[rank.second.color].push_back(rank);
    }
    splits_.erase(at);
    for (auto& entry : colors) {
        std::sort(entry.second.begin(), entry.second.end(), [](const auto& x, const auto& y) {
            return std::make_pair(x.second.key, x.second.rank) < std::make_pair(y.second.key, y.second.rank);
        });
        if (entry.first != NO_COLOR) {
            found(std::move(entry.second));
        }
    }
}

void Hub::found(std::vector<std::pair<int, Frame>> ranks) {
    Communicator& made = communicators_[next_];
    made.id = next_++;
    for (const auto& rank : ranks) {
        Member member = {};
        member.socket = rank.first;
        member.process = rank.second.process;
        made.members.push_back(member);
    }
    for (size_t rank = 0; rank < ranks.size(); rank++) {
        Frame frame = {Message::JOINED};
        frame.communicator = made.id;
        frame.rank = static_cast<int32_t>(rank);
        frame.ranks = static_cast<int32_t>(ranks.size());
        sendFrame(ranks[rank].first, frame, nullptr, 0);
    }
}

void Hub::call(Communicator& communicator, const Frame& frame, std::vector<char> payload) {
    Member& member = communicator.members.at(static_cast<size_t>(frame.rank));
    if (frame.index == 0) {
        member.coming = frame.total;
    }
    member.coming--;
    auto pending = std::make_shared<Pending>(Pending{frame.rank, frame.call, frame.ticket, frame.index, 0, std::move(payload)});
    member.unfinished.push_back(pending);
    if (frame.call.transfers()) {
        transfer(communicator, pending);
    } else {
        pending->round = member.rounds++;
        meet(communicator, pending);
    }
    if (!communicator.broken) {
        searchDeadlock(communicator);
    }
}

void Hub::meet(Communicator& communicator, const PendingRef& pending) {
    std::vector<PendingRef>& round = communicator.rounds[pending->round];
    if (!round.empty() && !(round.front()->call == pending->call)) {
        return fail(communicator, INVALID_USAGE,
                    "collective " + std::to_string(pending->round) + " differs between ranks: " +
                            rankSays(round.front()->rank, round.front()->call) + ", " + rankSays(pending->rank, pending->call));
    }
    round.push_back(pending);
    if (round.size() == communicator.members.size()) {
        std::sort(round.begin(), round.end(), [](const PendingRef& x, const PendingRef& y) { return x->rank < y->rank; });
        std::vector<PendingRef> complete = std::move(round);
        communicator.rounds.erase(pending->round);
        finishRound(communicator, complete);
    }
}

void Hub::transfer(Communicator& communicator, const PendingRef& pending) {
    bool sends = pending->call.op == Op::SEND;
    auto pair = sends ? std::make_pair(pending->rank, pending->call.peer) : std::make_pair(pending->call.peer, pending->rank);
    std::deque<PendingRef>& others = (sends ? communicator.receives : communicator.sends)[pair];
    if (others.empty()) {
        (sends ? communicator.sends : communicator.receives)[pair].push_back(pending);
        return;
    }
    PendingRef other = others.front();
    others.pop_front();
    if (other->call.count != pending->call.count || other->call.type != pending->call.type) {
        return fail(communicator, INVALID_USAGE,
                    "a transfer differs between ranks: " + rankSays(other->rank, other->call) + ", " +
                            rankSays(pending->rank, pending->call));
    }
    const PendingRef& sender = sends ? pending : other;
    finish(communicator, sends ? other : pending, sender->payload.data(), sender->payload.size());
    finish(communicator, sender, nullptr, 0);
}

void Hub::finish(Communicator& communicator, const PendingRef& pending, const void* payload, size_t bytes) {
    Member& member = communicator.members[static_cast<size_t>(pending->rank)];
    member.unfinished.remove(pending);
    Frame frame = {Message::RESULT};
    frame.ticket = pending->ticket;
    frame.index = pending->index;
    sendFrame(member.socket, frame, payload, bytes);
}

void Hub::finishRound(Communicator& communicator, const std::vector<PendingRef>& round) {
    const Call call = round.front()->call;
    size_t ranks = round.size(), bytes = call.count * elementBytes(call.type);
    std::vector<char> whole;
    if (call.op == Op::ALL_GATHER) {
        for (const PendingRef& pending : round) {
            whole.insert(whole.end(), pending->payload.begin(), pending->payload.end());
        }
    } else if (call.op == Op::BROADCAST) {
        whole = round[static_cast<size_t>(call.peer)]->payload;
    } else {
        size_t count = call.count * (call.op == Op::REDUCE_SCATTER ? ranks : 1);
        whole = round.front()->payload;
        for (size_t rank = 1; rank < ranks; rank++) {
            combine(call.type, call.reduction, whole.data(), round[rank]->payload.data(), count);
        }
        if (call.reduction == AVERAGE) {
            divide(call.type, whole.data(), count, static_cast<int>(ranks));
        }
    }
    for (size_t rank = 0; rank < ranks; rank++) {
        if (call.op == Op::REDUCE_SCATTER) {
            finish(communicator, round[rank], whole.data() + rank * bytes, bytes);
        } else {
            bool wants = call.op != Op::REDUCE || static_cast<size_t>(call.peer) == rank;
            finish(communicator, round[rank], whole.data(), wants ? whole.size() : 0);
        }
    }
}

bool Hub::waitsFor(const Communicator& communicator, const Pending& pending, size_t rank) const {
    return pending.call.transfers() ? static_cast<size_t>(pending.call.peer) == rank
                                    : communicator.members[rank].rounds <= pending.round;
}

// Ranks start a group when the one before is through. Those whose group waits for a rank that waits as well, or left, stay for ever.
void Hub::searchDeadlock(Communicator& communicator) {
    std::vector<Member>& members = communicator.members;
    std::vector<bool> stuck;
    for (const Member& member : members) {
        stuck.push_back(member.gone || (member.coming == 0 && !member.unfinished.empty()));
    }
    bool changed = true;
    while (changed) {
        changed = false;
        for (size_t rank = 0; rank < members.size(); rank++) {
            if (!stuck[rank] || members[rank].gone) {
                continue;
            }
            bool waits = false;
            for (const PendingRef& pending : members[rank].unfinished) {
                for (size_t other = 0; other < members.size() && !waits; other++) {
                    waits = stuck[other] && waitsFor(communicator, *pending, other);
                }
            }
            changed = changed || !waits;
            stuck[rank] = waits;
        }
    }
    std::string waiting, left;
    for (size_t rank = 0; rank < members.size(); rank++) {
        if (members[rank].gone) {
            left += " rank " + std::to_string(rank) + " has left;";
        } else if (stuck[rank]) {
            waiting += (waiting.empty() ? " " : ", ") + rankSays(static_cast<int>(rank), members[rank].unfinished.front()->call);
        }
    }
    if (!waiting.empty()) {
        fail(communicator, INVALID_USAGE, "calls wait for each other for ever:" + left + waiting);
    }
}

void Hub::fail(Communicator& communicator, Result result, const std::string& why) {
    communicator.broken = true;
    std::set<int64_t> processes;
    for (const Member& member : communicator.members) {
        if (!member.gone) {
            bool first = processes.insert(member.process).second;
            answer(member.socket, Message::FAILED, result, why, result == INVALID_USAGE && first);
        }
    }
}

}  // namespace cudasim
