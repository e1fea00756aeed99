// Where the ranks of one unique id meet: matches their calls, moves their data, and says what does not fit together.
//
// A real NCCL has no such place. Ranks that call different things hang there or corrupt memory; here both calls are named.
#pragma once

#include <deque>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "wire.h"

namespace cudasim {

class Hub {
   public:
    // Starts a hub that lives as long as the process. False when no socket can be had.
    static bool start(UniqueId& id);

   private:
    // A call that a rank waits for.
    struct Pending {
        int rank;
        Call call;
        uint64_t ticket;
        int index;
        // Of a collective: which one of the communicator's.
        uint64_t round;
        std::vector<char> payload;
    };
    using PendingRef = std::shared_ptr<Pending>;

    struct Member {
        int socket;
        int64_t process;
        bool gone = false;
        // Of the group that the rank is in: how many of its calls are still to come.
        int coming = 0;
        uint64_t rounds = 0;
        std::list<PendingRef> unfinished;
    };

    struct Communicator {
        uint64_t id;
        std::vector<Member> members;
        bool broken = false;
        std::map<uint64_t, std::vector<PendingRef>> rounds;
        // By source and destination.
        std::map<std::pair<int, int>, std::deque<PendingRef>> sends, receives;
    };

    // Ranks that ask for one communicator, until all are there.
    struct Gathering {
        std::vector<std::pair<int, Frame>> ranks;
        bool complete = false;
    };

    void accept();
    void talk(int socket);
    void handle(int socket, const Frame& frame, std::vector<char> payload);
    void drop(int socket);

    void init(int socket, const Frame& frame);
    void split(int socket, const Frame& frame);
    void found(std::vector<std::pair<int, Frame>> ranks);
    void refuse(Gathering& gathering, Result result, const std::string& why);

    void call(Communicator& communicator, const Frame& frame, std::vector<char> payload);
    void meet(Communicator& communicator, const PendingRef& pending);
    void transfer(Communicator& communicator, const PendingRef& pending);
    void finish(Communicator& communicator, const PendingRef& pending, const void* payload, size_t bytes);
    void finishRound(Communicator& communicator, const std::vector<PendingRef>& round);
    void searchDeadlock(Communicator& communicator);
    bool waitsFor(const Communicator& communicator, const Pending& pending, size_t rank) const;
    void fail(Communicator& communicator, Result result, const std::string& why);

    int listener_ = -1;
    unsigned char secret_[SECRET_BYTES];
    std::mutex mutex_;
    Gathering init_;
    std::map<std::pair<uint64_t, int>, Gathering> splits_;
    std::map<uint64_t, Communicator> communicators_;
    uint64_t next_ = 1;
};

}  // namespace cudasim
