// What the kernels of this folder share: numbers, reductions, and the few instructions that C++ has no word for.
//
// Kernels include no other header, so that NVRTC compiles them on a machine without the CUDA toolkit. Every helper that is
// written in PTX has a twin for a host compiler, cudasim_<name>, which the simulated CUDA of the tests supplies.
#pragma once

using int64 = long long;

constexpr int kWarpSize = 32;
constexpr unsigned kAllLanes = 0xffffffffu;

// Dynamic shared memory of the launch, 16-byte aligned.
#ifdef __CUDACC__
#define DYNAMIC_SHARED(Type, name)                                            \
    extern __shared__ __align__(16) unsigned char brazier_dynamic_shared[]; \
    Type* name = reinterpret_cast<Type*>(brazier_dynamic_shared)
#else
#define DYNAMIC_SHARED(Type, name) Type* name = reinterpret_cast<Type*>(cudasim_dynamic_shared())
#endif

// ---- numbers ----

constexpr float kLog2e = 1.44269504f;

// 2^x to two units in the last place; 0 where that is below the normal numbers.
__device__ __forceinline__ float fast_exp2(float x) {
#ifdef __CUDACC__
    float y;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
    return y;
#else
    return exp2f(x);
#endif
}

__device__ __forceinline__ float infinity() { return __uint_as_float(0x7f800000u); }

struct bf16 {
    unsigned short bits;
};

__device__ __forceinline__ float to_float(float x) { return x; }

__device__ __forceinline__ float to_float(bf16 x) { return __uint_as_float(static_cast<unsigned>(x.bits) << 16); }

// Two bf16 in one register, the lower half first; rounds to nearest even.
__device__ __forceinline__ unsigned pack_bf16(float low, float high) {
#ifdef __CUDACC__
    unsigned packed;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return cudasim_pack_bf16(low, high);
#endif
}

__device__ __forceinline__ float low_bf16(unsigned packed) { return __uint_as_float(packed << 16); }

__device__ __forceinline__ float high_bf16(unsigned packed) { return __uint_as_float(packed & 0xffff0000u); }

// Two eight-bit floats in half a register, the lower byte first; rounds to nearest even, beyond the largest the largest. NaN stays NaN.
__device__ __forceinline__ unsigned pack_e4m3(float low, float high) {
#ifdef __CUDACC__
    unsigned short packed;
    asm("cvt.rn.satfinite.e4m3x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return cudasim_to_e4m3(low) | static_cast<unsigned>(cudasim_to_e4m3(high)) << 8;
#endif
}

__device__ __forceinline__ unsigned pack_e5m2(float low, float high) {
#ifdef __CUDACC__
    unsigned short packed;
    asm("cvt.rn.satfinite.e5m2x2.f32 %0, %1, %2;" : "=h"(packed) : "f"(high), "f"(low));
    return packed;
#else
    return cudasim_to_e5m2(low) | static_cast<unsigned>(cudasim_to_e5m2(high)) << 8;
#endif
}

template <typename T>
__device__ __forceinline__ T from_float(float x);

template <>
__device__ __forceinline__ float from_float<float>(float x) {
    return x;
}

template <>
__device__ __forceinline__ bf16 from_float<bf16>(float x) {
    return bf16{static_cast<unsigned short>(pack_bf16(x, 0.0f))};
}

// Elements of T in a 16-byte access.
template <typename T>
constexpr int kVector = 16 / static_cast<int>(sizeof(T));

// Reads kVector<T> elements from a 16-byte aligned address.
__device__ __forceinline__ void load_vector(const float* from, float (&to)[4]) {
    float4 v = *reinterpret_cast<const float4*>(from);
    to[0] = v.x, to[1] = v.y, to[2] = v.z, to[3] = v.w;
}

__device__ __forceinline__ void load_vector(const bf16* from, float (&to)[8]) {
    uint4 v = *reinterpret_cast<const uint4*>(from);
    to[0] = low_bf16(v.x), to[1] = high_bf16(v.x), to[2] = low_bf16(v.y), to[3] = high_bf16(v.y);
    to[4] = low_bf16(v.z), to[5] = high_bf16(v.z), to[6] = low_bf16(v.w), to[7] = high_bf16(v.w);
}

__device__ __forceinline__ void store_vector(float* to, const float (&from)[4]) {
    *reinterpret_cast<float4*>(to) = make_float4(from[0], from[1], from[2], from[3]);
}

__device__ __forceinline__ void store_vector(bf16* to, const float (&from)[8]) {
    *reinterpret_cast<uint4*>(to) = make_uint4(
        pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3]), pack_bf16(from[4], from[5]), pack_bf16(from[6], from[7]));
}

// V elements from an address that is aligned to them: 16-byte accesses, or one of 8 bytes, or an element.
template <int V, typename T>
__device__ __forceinline__ void load_elements(const T* from, float (&to)[V]) {
    if constexpr (V == 1) {
        to[0] = to_float(*from);
    } else if constexpr (V < kVector<T>) {
        static_assert(V == 4, "half a vector of bf16");
        uint2 v = *reinterpret_cast<const uint2*>(from);
        to[0] = low_bf16(v.x), to[1] = high_bf16(v.x), to[2] = low_bf16(v.y), to[3] = high_bf16(v.y);
    } else {
#pragma unroll
        for (int part = 0; part < V; part += kVector<T>) {
            float v[kVector<T>];
            load_vector(from + part, v);
#pragma unroll
            for (int e = 0; e < kVector<T>; e++) {
                to[part + e] = v[e];
            }
        }
    }
}

template <int V, typename T>
__device__ __forceinline__ void store_elements(T* to, const float (&from)[V]) {
    if constexpr (V == 1) {
        *to = from_float<T>(from[0]);
    } else if constexpr (V < kVector<T>) {
        static_assert(V == 4, "half a vector of bf16");
        *reinterpret_cast<uint2*>(to) = uint2{pack_bf16(from[0], from[1]), pack_bf16(from[2], from[3])};
    } else {
#pragma unroll
        for (int part = 0; part < V; part += kVector<T>) {
            float v[kVector<T>];
#pragma unroll
            for (int e = 0; e < kVector<T>; e++) {
                v[e] = from[part + e];
            }
            store_vector(to + part, v);
        }
    }
}

// A number that the compiler knows.
template <int n>
struct Constant {
    static constexpr int value = n;
};

// f(elements of an access to rows of this width): vectors of T where every row holds whole ones, else single elements.
template <typename T, typename F>
__device__ __forceinline__ void by_vectors(int64 width, F f) {
    if (width % kVector<T> == 0) {
        f(Constant<kVector<T>>{});
    } else {
        f(Constant<1>{});
    }
}

// ---- threads ----

__device__ __forceinline__ int64 global_thread() {
    return static_cast<int64>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ int64 global_threads() { return static_cast<int64>(gridDim.x) * blockDim.x; }

__device__ __forceinline__ int lane() { return static_cast<int>(threadIdx.x) % kWarpSize; }

__device__ __forceinline__ int warp() { return static_cast<int>(threadIdx.x) / kWarpSize; }

// f(row, column) for every V-th column of a matrix, shared out over the grid; no step takes a division.
template <int V, typename F>
__device__ __forceinline__ void for_each_piece(int64 rows, int64 width, F f) {
    int64 pieces = width / V, row = global_thread() / pieces, piece = global_thread() % pieces;
    int64 moreRows = global_threads() / pieces, morePieces = global_threads() % pieces;
    while (row < rows) {
        f(row, piece * V);
        row += moreRows;
        piece += morePieces;
        if (piece >= pieces) {
            piece -= pieces;
            row++;
        }
    }
}

// The row of this warp where a warp takes a row.
__device__ __forceinline__ int64 warp_row() { return global_thread() / kWarpSize; }

// f(column) for every V-th column of a row, shared out over the lanes of a warp.
template <int V, typename F>
__device__ __forceinline__ void for_each_column(int width, F f) {
    for (int column = lane() * V; column < width; column += kWarpSize * V) {
        f(column);
    }
}

struct Sum {
    __device__ __forceinline__ float operator()(float x, float y) const { return x + y; }
    static __device__ __forceinline__ float identity() { return 0.0f; }
};

struct Max {
    __device__ __forceinline__ float operator()(float x, float y) const { return fmaxf(x, y); }
    static __device__ __forceinline__ float identity() { return -infinity(); }
};

// The reduction over all 32 lanes, in every lane.
template <typename Reduce>
__device__ __forceinline__ float warp_reduce(float x, Reduce reduce) {
    for (int distance = kWarpSize / 2; distance > 0; distance /= 2) {
        x = reduce(x, __shfl_xor_sync(kAllLanes, x, distance));
    }
    return x;
}

// The reduction over a one-dimensional block of whole warps, in every thread. All threads must call it; it may be called again at once.
template <typename Reduce>
__device__ __forceinline__ float block_reduce(float x, Reduce reduce) {
    __shared__ float partial[kWarpSize];
    x = warp_reduce(x, reduce);
    __syncthreads();
    if (lane() == 0) {
        partial[warp()] = x;
    }
    __syncthreads();
    int warps = static_cast<int>(blockDim.x) / kWarpSize;
    return warp_reduce(lane() < warps ? partial[lane()] : Reduce::identity(), reduce);
}

// ---- tensor cores and asynchronous copies (PTX ISA: mma.m16n8k16, ldmatrix, cp.async) ----

// d += a b for a 16x16 tile a (row-major) and a 16x8 tile b (column-major) of bf16, in the instruction's register layout.
__device__ __forceinline__ void mma_bf16(float (&d)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
#ifdef __CUDACC__
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};"
        : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
#else
    cudasim_mma_bf16(d, a, b);
#endif
}

#ifdef __CUDACC__
__device__ __forceinline__ unsigned shared_address(const void* shared) {
    return static_cast<unsigned>(__cvta_generic_to_shared(shared));
}
#endif

// Four 8x8 tiles of 16-bit elements; lane l supplies the address of row l % 8 of tile l / 8.
__device__ __forceinline__ void ldmatrix_x4(unsigned (&r)[4], const void* shared) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared))
                 : "memory");
#else
    cudasim_ldmatrix_x4(r, shared);
#endif
}

// The same, each tile transposed.
__device__ __forceinline__ void ldmatrix_x4_trans(unsigned (&r)[4], const void* shared) {
#ifdef __CUDACC__
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];"
                 : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
                 : "r"(shared_address(shared))
                 : "memory");
#else
    cudasim_ldmatrix_x4_trans(r, shared);
#endif
}

// Copies 16 bytes to shared memory behind the thread's back; zeros where the source is not valid.
__device__ __forceinline__ void cp_async_16(void* shared, const void* global, bool valid) {
#ifdef __CUDACC__
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(shared)), "l"(global), "r"(valid ? 16 : 0)
                 : "memory");
#else
    cudasim_cp_async_16(shared, global, valid);
#endif
}

// Ends a group of copies.
__device__ __forceinline__ void cp_async_commit() {
#ifdef __CUDACC__
    asm volatile("cp.async.commit_group;" ::: "memory");
#else
    cudasim_cp_async_commit();
#endif
}

// Waits until at most kPending groups of this thread's copies are in flight; a barrier must follow before others read them.
template <int kPending>
__device__ __forceinline__ void cp_async_wait() {
#ifdef __CUDACC__
    asm volatile("cp.async.wait_group %0;" ::"n"(kPending) : "memory");
#else
    cudasim_cp_async_wait(kPending);
#endif
}

// ---- tiles of bf16 in shared memory ----

// Elements between the rows of a tile: 16 bytes more than its width, so that eight rows of one column lie in different banks.
template <int kWidth>
constexpr int kTileStride = kWidth + 8;

// Copies rows [0, rows) and columns [0, width) of a matrix into a tile of kRows rows and kWidth columns, zeros elsewhere. All
// kThreads of the block must call it; the tile is there after cp_async_wait and a barrier.
template <int kWidth, int kRows, int kThreads>
__device__ __forceinline__ void load_tile(bf16* tile, const bf16* from, int64 stride, int rows, int width) {
    constexpr int kStride = kTileStride<kWidth>, kChunks = kWidth / 8, kStep = kThreads / kChunks;
    static_assert(kRows % kStep == 0, "every thread copies as many chunks as every other");
    if (width % 8 == 0) {
        int own = static_cast<int>(threadIdx.x) / kChunks, column = static_cast<int>(threadIdx.x) % kChunks * 8;
        int valid = column < width ? rows - own : 0;
        const bf16* source = from + own * stride + column;
        bf16* target = tile + own * kStride + column;
#pragma unroll 4
        for (int row = 0; row < kRows; row += kStep) {
            cp_async_16(target + row * kStride, source, row < valid);
            source += kStep * stride;
        }
    } else {
#pragma unroll 1
        for (int x = static_cast<int>(threadIdx.x); x < kRows * kWidth; x += kThreads) {
            int row = x / kWidth, column = x % kWidth;
            tile[row * kStride + column] = row < rows && column < width ? from[row * stride + column] : bf16{0};
        }
    }
}

// Operand a of mma_bf16: a[m][k] = tile[row + m][column + k].
template <int kWidth>
__device__ __forceinline__ void load_a(unsigned (&a)[4], const bf16* tile, int row, int column) {
    ldmatrix_x4(a, tile + (row + lane() % 16) * kTileStride<kWidth> + column + lane() / 16 * 8);
}

// Operand b of two products side by side: b[k][n] = tile[row + k][column + n] for n < 16.
template <int kWidth>
__device__ __forceinline__ void load_b(unsigned (&b)[4], const bf16* tile, int row, int column) {
    ldmatrix_x4_trans(b, tile + (row + lane() % 16) * kTileStride<kWidth> + column + lane() / 16 * 8);
}

// The same of a tile that holds b transposed: b[k][n] = tile[row + n][column + k].
template <int kWidth>
__device__ __forceinline__ void load_b_transposed(unsigned (&b)[4], const bf16* tile, int row, int column) {
    ldmatrix_x4(b, tile + (row + lane() / 16 * 8 + lane() % 8) * kTileStride<kWidth> + column + lane() / 8 % 2 * 8);
}

// s += a b^T over a width of D: M fragments of 16 rows of tile a from `row` on, with N rows of tile b.
template <int D, int M, int N>
__device__ __forceinline__ void multiply_transposed(float (&s)[M][N / 8][4], const bf16* aTile, int row, const bf16* bTile) {
#pragma unroll
    for (int i = 0; i < D / 16; i++) {
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
            load_a<D>(a[m], aTile, row + 16 * m, 16 * i);
        }
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            unsigned b[4];
            load_b_transposed<D>(b, bTile, 16 * n, 16 * i);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16(s[m][2 * n], a[m], {b[0], b[1]});
                mma_bf16(s[m][2 * n + 1], a[m], {b[2], b[3]});
            }
        }
    }
}

// out += p b, with results p of products as they lie in registers (rounded to bf16, they are operands a in the same lanes) and
// kColumns columns, from `column` on, of the N rows of tile b.
template <int D, int M, int N, int kColumns>
__device__ __forceinline__ void multiply_results(
    float (&out)[M][kColumns / 8][4], const float (&p)[M][N / 8][4], const bf16* bTile, int column) {
#pragma unroll
    for (int j = 0; j < N / 16; j++) {
        unsigned a[M][4];
#pragma unroll
        for (int m = 0; m < M; m++) {
#pragma unroll
            for (int e = 0; e < 4; e++) {
                a[m][e] = pack_bf16(p[m][2 * j + e / 2][e % 2 * 2], p[m][2 * j + e / 2][e % 2 * 2 + 1]);
            }
        }
#pragma unroll
        for (int n = 0; n < kColumns / 16; n++) {
            unsigned b[4];
            load_b<D>(b, bTile, 16 * j, column + 16 * n);
#pragma unroll
            for (int m = 0; m < M; m++) {
                mma_bf16(out[m][2 * n], a[m], {b[0], b[1]});
                mma_bf16(out[m][2 * n + 1], a[m], {b[2], b[3]});
            }
        }
    }
}

// Calls f with fragment, tile of 8 columns and element of each score that this lane holds.
template <int M, int N, typename F>
__device__ __forceinline__ void each_score(F f) {
#pragma unroll
    for (int m = 0; m < M; m++) {
#pragma unroll
        for (int e = 0; e < 4; e++) {
#pragma unroll
            for (int n = 0; n < N / 8; n++) {
                f(m, n, e);
            }
        }
    }
}

// The row, within 16, and the column, within 8, of element e of this lane's results of mma_bf16.
__device__ __forceinline__ int result_row(int e) { return lane() / 4 + e / 2 * 8; }

__device__ __forceinline__ int result_column(int e) { return lane() % 4 * 2 + e % 2; }

// Two neighbouring elements of a row of `width` from an even column on.
__device__ __forceinline__ void store_pair(bf16* row, int column, int width, float x, float y) {
    if (width % 2 == 0) {
        *reinterpret_cast<unsigned*>(row + column) = pack_bf16(x, y);
        return;
    }
    row[column] = from_float<bf16>(x);
    if (column + 1 < width) {
        row[column + 1] = from_float<bf16>(y);
    }
}
