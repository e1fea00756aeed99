#include "shm.h"

#include <cerrno>
#include <climits>
#include <cstring>
#include <ctime>

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

// One body, the widest vectors of the machine it runs on.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define BRAZIER_WIDEST __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define BRAZIER_WIDEST
#endif

namespace brazier::shm {

namespace {

intptr_t mapAndClose(int fd, size_t bytes) {
    void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    int error = errno;
    close(fd);
    return address == MAP_FAILED ? -error : reinterpret_cast<intptr_t>(address);
}

}  // namespace

intptr_t create(const char* path, size_t bytes) {
    int fd = ::open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -errno;
    // Takes the pages now: a full file system is an error here and no SIGBUS later.
    int error = posix_fallocate(fd, 0, static_cast<off_t>(bytes));
    if (error != 0) {
        close(fd);
        unlink(path);
        return -error;
    }
    intptr_t address = mapAndClose(fd, bytes);
    if (address < 0) unlink(path);
    return address;
}

intptr_t open(const char* path, size_t bytes) {
    int fd = ::open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) return -errno;
    struct stat status;
    int error = 0;
    if (fstat(fd, &status) != 0) {
        error = errno;
    } else if (!S_ISREG(status.st_mode) || status.st_uid != geteuid() || (status.st_mode & 0077) != 0) {
        error = EACCES;
    } else if (static_cast<size_t>(status.st_size) != bytes) {
        error = EINVAL;
    }
    if (error != 0) {
        close(fd);
        return -error;
    }
    return mapAndClose(fd, bytes);
}

intptr_t anonymous(size_t bytes) {
    void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    return address == MAP_FAILED ? -errno : reinterpret_cast<intptr_t>(address);
}

int unmap(void* address, size_t bytes) { return munmap(address, bytes) == 0 ? 0 : -errno; }

void ring(uint32_t* doorbell) {
    __atomic_fetch_add(doorbell, 1, __ATOMIC_SEQ_CST);
    if (__atomic_load_n(doorbell + 16, __ATOMIC_SEQ_CST) != 0) {
        syscall(SYS_futex, doorbell, FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
    }
}

void sleep(uint32_t* doorbell, uint32_t seen, int64_t nanos) {
    timespec timeout{static_cast<time_t>(nanos / 1000000000), static_cast<long>(nanos % 1000000000)};
    __atomic_fetch_add(doorbell + 16, 1, __ATOMIC_SEQ_CST);
    // The kernel compares with seen once more, so a ring between the caller's look and here is not missed.
    syscall(SYS_futex, doorbell, FUTEX_WAIT, seen, &timeout, nullptr, 0);
    __atomic_fetch_sub(doorbell + 16, 1, __ATOMIC_SEQ_CST);
}

// How an element is widened to the type of sums, and a sum rounded to an element.
template <typename T>
struct Plain {
    using Stored = T;
    using Total = T;
    static T widen(T x) { return x; }
    static T round(T x) { return x; }
};

struct Bf16 {
    using Stored = uint16_t;
    using Total = float;

    static float widen(uint16_t x) {
        uint32_t bits = static_cast<uint32_t>(x) << 16;
        float value;
        std::memcpy(&value, &bits, sizeof value);
        return value;
    }

    static uint16_t round(float x) {
        uint32_t bits;
        std::memcpy(&bits, &x, sizeof bits);
        uint32_t nearest = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
        // A NaN stays one: rounding could carry it to infinity.
        uint32_t quiet = (bits >> 16) | 0x40;
        return static_cast<uint16_t>((bits & 0x7fffffff) > 0x7f800000 ? quiet : nearest);
    }
};

template <typename E>
__attribute__((always_inline)) inline void sumInOrder(void* const* to, size_t numTo, const void* const* from,
                                                      size_t numFrom, size_t count) {
    constexpr size_t kBlock = 1024;
    using Stored = typename E::Stored;
    typename E::Total total[kBlock];
    Stored rounded[kBlock];
    for (size_t begin = 0; begin < count; begin += kBlock) {
        size_t n = count - begin < kBlock ? count - begin : kBlock;
        const Stored* first = static_cast<const Stored*>(from[0]) + begin;
        for (size_t i = 0; i < n; i++) total[i] = E::widen(first[i]);
        for (size_t r = 1; r < numFrom; r++) {
            const Stored* x = static_cast<const Stored*>(from[r]) + begin;
            for (size_t i = 0; i < n; i++) total[i] += E::widen(x[i]);
        }
        for (size_t i = 0; i < n; i++) rounded[i] = E::round(total[i]);
        for (size_t t = 0; t < numTo; t++) {
            std::memcpy(static_cast<Stored*>(to[t]) + begin, rounded, n * sizeof(Stored));
        }
    }
}

BRAZIER_WIDEST
void sum(Element type, void* const* to, size_t numTo, const void* const* from, size_t numFrom, size_t count) {
    switch (type) {
        case Element::kF32:
            return sumInOrder<Plain<float>>(to, numTo, from, numFrom, count);
        case Element::kF64:
            return sumInOrder<Plain<double>>(to, numTo, from, numFrom, count);
        case Element::kBf16:
            return sumInOrder<Bf16>(to, numTo, from, numFrom, count);
    }
}

BRAZIER_WIDEST
static void digestBlock(const uint8_t* data, size_t words, const uint64_t* key, uint64_t* out) {
    uint64_t low = 0;
    uint64_t high = 0;
    for (size_t i = 0; i < words; i++) {
        uint64_t x;
        std::memcpy(&x, data + 8 * i, 8);
        uint64_t a = key[i];
        uint64_t b = key[i + 2];
        low += static_cast<uint64_t>(static_cast<uint32_t>(x) + static_cast<uint32_t>(a)) *
               static_cast<uint32_t>(static_cast<uint32_t>(x >> 32) + static_cast<uint32_t>(a >> 32));
        high += static_cast<uint64_t>(static_cast<uint32_t>(x) + static_cast<uint32_t>(b)) *
                static_cast<uint32_t>(static_cast<uint32_t>(x >> 32) + static_cast<uint32_t>(b >> 32));
    }
    out[0] = low;
    out[1] = high;
}

void digest(const uint8_t* data, size_t bytes, const uint64_t* key, uint64_t* out) {
    size_t begin = 0;
    for (; begin + kDigestBlock <= bytes; begin += kDigestBlock, out += 2) {
        digestBlock(data + begin, kDigestBlock / 8, key, out);
    }
    if (begin < bytes) {
        uint8_t padded[kDigestBlock] = {};
        std::memcpy(padded, data + begin, bytes - begin);
        digestBlock(padded, (bytes - begin + 7) / 8, key, out);
    }
}

}  // namespace brazier::shm
