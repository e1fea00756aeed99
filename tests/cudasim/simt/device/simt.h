// What g++ reads before a CUDA source: the words of the language and the built-in functions that the product's kernels use.
#pragma once

#include "abi.h"

#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __constant__ static
// Static variables without a value lie in a section of their own, where nvrtc's stand-in moves them.
#define __shared__ static
// nvrtc's stand-in looks for these two in the preprocessed source.
#define __global__ __attribute__((cudasim_kernel))
#define __launch_bounds__(...) __attribute__((cudasim_launch_bounds(__VA_ARGS__)))

// ---- vector types ----

using dim3 = cudasim::Extent;
using uint3 = cudasim::Extent;

#define CUDASIM_VECTORS(Scalar, name, align2, align4)                                                          \
    struct alignas(align2) name##2 {                                                                           \
        Scalar x, y;                                                                                           \
    };                                                                                                         \
    struct alignas(align4) name##4 {                                                                           \
        Scalar x, y, z, w;                                                                                     \
    };                                                                                                         \
    inline name##2 make_##name##2(Scalar x, Scalar y) { return {x, y}; }                                       \
    inline name##4 make_##name##4(Scalar x, Scalar y, Scalar z, Scalar w) { return {x, y, z, w}; }

CUDASIM_VECTORS(float, float, 8, 16)
CUDASIM_VECTORS(double, double, 16, 16)
CUDASIM_VECTORS(int, int, 8, 16)
CUDASIM_VECTORS(unsigned, uint, 8, 16)
CUDASIM_VECTORS(unsigned short, ushort, 4, 8)
CUDASIM_VECTORS(unsigned char, uchar, 2, 4)
CUDASIM_VECTORS(long long, longlong, 16, 16)

// ---- the state of the running thread, set by the run time ----

// Constants to the compiler, since no thread sees its own change; the assembler defines them, so that none is folded.
extern "C" {
#define CUDASIM_STATE(declaration, symbol) extern __attribute__((visibility("hidden"))) declaration __asm__(symbol)
CUDASIM_STATE(const uint3 threadIdx, "cudasim_thread");
CUDASIM_STATE(const uint3 blockIdx, "cudasim_block");
CUDASIM_STATE(const dim3 blockDim, "cudasim_block_size");
CUDASIM_STATE(const dim3 gridDim, "cudasim_grid_size");
CUDASIM_STATE(cudasim::Engine* const cudasim_engine, "cudasim_engine");
CUDASIM_STATE(unsigned char* const cudasim_dynamic, "cudasim_dynamic");
CUDASIM_STATE(const unsigned long long cudasim_stacks, "cudasim_stacks");
CUDASIM_STATE(const unsigned long long cudasim_stack_bytes, "cudasim_stack_bytes");
CUDASIM_STATE(const cudasim::Services cudasim_services, "cudasim_services");
CUDASIM_STATE(cudasim::State cudasim_state, "cudasim_state");
}

__asm__(
    ".pushsection .data.cudasim_state, \"aw\"\n"
    ".balign 64\n"
    "cudasim_state: .zero 256\n"
    ".set cudasim_thread, cudasim_state\n"
    ".set cudasim_block, cudasim_state + 12\n"
    ".set cudasim_block_size, cudasim_state + 24\n"
    ".set cudasim_grid_size, cudasim_state + 36\n"
    ".set cudasim_engine, cudasim_state + 48\n"
    ".set cudasim_dynamic, cudasim_state + 56\n"
    ".set cudasim_stacks, cudasim_state + 64\n"
    ".set cudasim_stack_bytes, cudasim_state + 72\n"
    ".set cudasim_services, cudasim_state + 80\n"
    ".popsection\n");
static_assert(sizeof(cudasim::State) <= 256 && __builtin_offsetof(cudasim::State, services) == 80, "the layout above");

constexpr int warpSize = 32;

inline unsigned char* cudasim_dynamic_shared() { return cudasim_dynamic; }

// The line of the call, where it is the default of a parameter.
constexpr cudasim::Place cudasim_here(const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
    return {file, line};
}

// Other threads run within the call, so that memory changes behind it.
template <typename Call>
__forceinline__ auto cudasim_meet(Call call) {
    struct Fence {
        __forceinline__ Fence() { __asm__ volatile("" ::: "memory"); }
        __forceinline__ ~Fence() { __asm__ volatile("" ::: "memory"); }
    } fence;
    return call();
}

// ---- barriers and lanes ----

constexpr unsigned cudasim_all_lanes = 0xffffffffu;

__forceinline__ void __syncthreads(cudasim::Place place = cudasim_here()) {
    cudasim_meet([&] { cudasim_services.block_barrier(cudasim_engine, place); });
}

__forceinline__ void __syncwarp(unsigned mask = cudasim_all_lanes, cudasim::Place place = cudasim_here()) {
    cudasim_meet([&] { cudasim_services.warp_barrier(cudasim_engine, mask, place); });
}

__forceinline__ void __threadfence() {
    cudasim_meet([] { cudasim_services.fence(cudasim_engine); });
}
__forceinline__ void __threadfence_block() { __asm__ volatile("" ::: "memory"); }
__forceinline__ void __trap(cudasim::Place place = cudasim_here()) { cudasim_services.trap(cudasim_engine, place); }

__forceinline__ int cudasim_lane() {
    return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % warpSize;
}

// The value that a lane of the mask has for this call; source -1 is the caller.
template <typename T>
__forceinline__ T cudasim_shuffle(unsigned mask, T value, int source, cudasim::Place place) {
    static_assert(sizeof(T) <= 8, "a shuffle moves at most eight bytes");
    unsigned long long bits = 0;
    __builtin_memcpy(&bits, &value, sizeof(T));
    bits = cudasim_meet([=] { return cudasim_services.shuffle(cudasim_engine, mask, bits, source, place); });
    __builtin_memcpy(&value, &bits, sizeof(T));
    return value;
}

template <typename T>
__forceinline__ T __shfl_sync(
    unsigned mask, T value, int source, int width = warpSize, cudasim::Place place = cudasim_here()) {
    int segment = cudasim_lane() & ~(width - 1);
    return cudasim_shuffle(mask, value, segment + (source & (width - 1)), place);
}

template <typename T>
__forceinline__ T __shfl_xor_sync(
    unsigned mask, T value, int lanes, int width = warpSize, cudasim::Place place = cudasim_here()) {
    int source = cudasim_lane() ^ lanes;
    bool beyond = source >= (cudasim_lane() & ~(width - 1)) + width;
    return cudasim_shuffle(mask, value, beyond ? -1 : source, place);
}

template <typename T>
__forceinline__ T __shfl_down_sync(
    unsigned mask, T value, unsigned lanes, int width = warpSize, cudasim::Place place = cudasim_here()) {
    bool beyond = (cudasim_lane() & (width - 1)) + lanes >= static_cast<unsigned>(width);
    return cudasim_shuffle(mask, value, beyond ? -1 : cudasim_lane() + static_cast<int>(lanes), place);
}

template <typename T>
__forceinline__ T __shfl_up_sync(
    unsigned mask, T value, unsigned lanes, int width = warpSize, cudasim::Place place = cudasim_here()) {
    bool beyond = lanes > static_cast<unsigned>(cudasim_lane() & (width - 1));
    return cudasim_shuffle(mask, value, beyond ? -1 : cudasim_lane() - static_cast<int>(lanes), place);
}

__forceinline__ unsigned __ballot_sync(unsigned mask, bool predicate, cudasim::Place place = cudasim_here()) {
    return cudasim_meet([=] { return cudasim_services.ballot(cudasim_engine, mask, predicate, place); });
}

__forceinline__ int __any_sync(unsigned mask, bool predicate, cudasim::Place place = cudasim_here()) {
    return __ballot_sync(mask, predicate, place) != 0;
}

__forceinline__ int __all_sync(unsigned mask, bool predicate, cudasim::Place place = cudasim_here()) {
    return __ballot_sync(mask, predicate, place) == mask;
}

// ---- atomics ----

// Threads take turns on one processor, so that nothing comes between the read and the write.
template <typename T, typename Update>
__attribute__((noinline, no_sanitize("thread", "alignment"))) T cudasim_update(T* address, Update update) {
    cudasim_services.access(cudasim_engine, address, sizeof(T), cudasim::Access::kAtomic, __builtin_return_address(0));
    T old = *address;
    *address = update(old);
    return old;
}

#define CUDASIM_ATOMIC(name, T, result) \
    __forceinline__ T name(T* address, T value) { \
        return cudasim_update(address, [value](T old) { return static_cast<T>(result); }); \
    }
#define CUDASIM_INTEGER_ATOMICS(T)                                   \
    CUDASIM_ATOMIC(atomicAdd, T, old + value)                        \
    CUDASIM_ATOMIC(atomicMax, T, old < value ? value : old)          \
    CUDASIM_ATOMIC(atomicMin, T, value < old ? value : old)          \
    CUDASIM_ATOMIC(atomicExch, T, value)                             \
    CUDASIM_ATOMIC(atomicOr, T, old | value)                         \
    CUDASIM_ATOMIC(atomicAnd, T, old & value)                        \
    __forceinline__ T atomicCAS(T* address, T expected, T value) {   \
        return cudasim_update(address, [=](T old) { return old == expected ? value : old; }); \
    }

CUDASIM_INTEGER_ATOMICS(int)
CUDASIM_INTEGER_ATOMICS(unsigned)
CUDASIM_INTEGER_ATOMICS(unsigned long long)
CUDASIM_ATOMIC(atomicAdd, float, old + value)
CUDASIM_ATOMIC(atomicExch, float, value)
CUDASIM_ATOMIC(atomicAdd, double, old + value)
__forceinline__ int atomicSub(int* address, int value) { return atomicAdd(address, -value); }

template <typename T>
__forceinline__ T __ldg(const T* address) {
    return *address;
}

#include "simt_math.h"

// ---- tensor cores and asynchronous copies: twins of brazier.cuh's instructions ----

__forceinline__ void cudasim_mma_bf16(
    float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2], cudasim::Place place = cudasim_here()) {
    cudasim::FourFloats in{{d[0], d[1], d[2], d[3]}};
    cudasim::FourWords left{{a[0], a[1], a[2], a[3]}};
    unsigned b0 = b[0], b1 = b[1];
    cudasim::FourFloats out =
        cudasim_meet([=] { return cudasim_services.mma_bf16(cudasim_engine, in, left, b0, b1, place); });
    d[0] = out.at[0], d[1] = out.at[1], d[2] = out.at[2], d[3] = out.at[3];
}

template <int tiles, bool transposed>
__forceinline__ void cudasim_ldmatrix(unsigned (&r)[tiles], const void* row, cudasim::Place place) {
    cudasim::FourWords out =
        cudasim_meet([=] { return cudasim_services.ldmatrix(cudasim_engine, row, tiles, transposed, place); });
    for (int tile = 0; tile < tiles; tile++) {
        r[tile] = out.at[tile];
    }
}

__forceinline__ void cudasim_ldmatrix_x4(
    unsigned (&r)[4], const void* row, cudasim::Place place = cudasim_here()) {
    cudasim_ldmatrix<4, false>(r, row, place);
}

__forceinline__ void cudasim_ldmatrix_x4_trans(
    unsigned (&r)[4], const void* row, cudasim::Place place = cudasim_here()) {
    cudasim_ldmatrix<4, true>(r, row, place);
}

__forceinline__ void cudasim_ldmatrix_x2(
    unsigned (&r)[2], const void* row, cudasim::Place place = cudasim_here()) {
    cudasim_ldmatrix<2, false>(r, row, place);
}

__forceinline__ void cudasim_ldmatrix_x2_trans(
    unsigned (&r)[2], const void* row, cudasim::Place place = cudasim_here()) {
    cudasim_ldmatrix<2, true>(r, row, place);
}

__forceinline__ void cudasim_cp_async_16(
    void* shared, const void* global, bool valid, cudasim::Place place = cudasim_here()) {
    cudasim_meet([=] { cudasim_services.cp_async(cudasim_engine, shared, global, valid, place); });
}

__forceinline__ void cudasim_cp_async_commit() {
    cudasim_meet([] { cudasim_services.cp_async_commit(cudasim_engine); });
}

__forceinline__ void cudasim_cp_async_wait(int pending) {
    cudasim_meet([=] { cudasim_services.cp_async_wait(cudasim_engine, pending); });
}

#include "sanitize.h"
#include "entry.h"
