// Memory shared by the ranks of one host, and the few loops that run over it.
#pragma once

#include <cstddef>
#include <cstdint>

namespace brazier::shm {

// All return the address, or a negative errno. Files are new (create) or belong to this user and have this size (open).
intptr_t create(const char* path, size_t bytes);
intptr_t open(const char* path, size_t bytes);
intptr_t anonymous(size_t bytes);
int unmap(void* address, size_t bytes);

// A doorbell is two words, 64 bytes apart: a count of rings and the number of sleepers.
void ring(uint32_t* doorbell);
void sleep(uint32_t* doorbell, uint32_t seen, int64_t nanos);

// to[t][i] = ((from[0][i] + from[1][i]) + from[2][i]) + ..., in f32 or f64; bf16 is summed in f32 and rounded once, to
// nearest even. A target may be one of the sources. The values of Element are those of ElementType.
enum class Element { kF32, kF64, kBf16 };
void sum(Element type, void* const* to, size_t numTo, const void* const* from, size_t numFrom, size_t count);

// Two 64-bit NH values (RFC 4418, 5.2.2) per block of kDigestBlock bytes; the last block is padded with zeros.
// key holds kDigestBlock + 16 bytes; out holds 2 words per block.
constexpr size_t kDigestBlock = 4096;
void digest(const uint8_t* data, size_t bytes, const uint64_t* key, uint64_t* out);

}  // namespace brazier::shm
