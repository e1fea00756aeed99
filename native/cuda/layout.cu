// y[b][a][n] = x[a][b][n]: the blocks of n units that a matrix [a, b] holds, transposed; a unit is of 16, 4 or 2 bytes.
//
// Bytes: each read and written once; no FLOPs. Bound on an H100: memory, 3.35 TB/s, for blocks of 32 bytes or more. Launch: 256 threads, each
// striding over units; addresses are multiples of a unit.
#include "brazier.cuh"

template <typename Unit>
__device__ __forceinline__ void transpose_blocks(const Unit* x, Unit* y, int64 a, int64 b, int64 n) {
    for_each_piece<1>(a * b, n, [=](int64 block, int64 unit) {
        int64 from = block % a * b + block / a;
        y[block * n + unit] = x[from * n + unit];
    });
}

#define TRANSPOSE(bytes, Unit)                                                        \
    extern "C" __global__ void __launch_bounds__(256) transpose_blocks_##bytes(       \
        const Unit* x, Unit* y, int64 a, int64 b, int64 n) {                          \
        transpose_blocks(x, y, a, b, n);                                              \
    }

TRANSPOSE(16, uint4)
TRANSPOSE(4, unsigned)
TRANSPOSE(2, unsigned short)
