// bf16 to eight bits with a scale for each tensor, and the scales themselves (arXiv:2209.05433, sec. 3).
//
//   measure              scale = largest number of the type / max |x| where the state has no scale yet, else nothing
//   quantise             q = x * scale in e4m3 or e5m2, and max |x| into the state                      3 bytes an element
//   quantise_transposed  the same, x [rows, width] -> q [width, rows]                                   3 bytes an element
//   next_scales          history <- max |x|, scale = largest number of the type / max over the history  256 bytes a tensor
//
// A tensor's state is 32 floats: 1 / scale, scale (0 for none), max |x| of this step, 13 unused, max |x| of the last 16 steps. The
// conversion rounds to nearest even and saturates; an infinity becomes NaN, so that a step that overflowed is noticed. max |x| is
// taken by integer atomics on the bits of non-negative floats, whose order does not matter.
//
// FLOPs: a product and a comparison an element. Bound on an H100: memory, 3.35 TB/s, but for measure, which matters in a tensor's
// first step alone and is the launch after that: a block for each of two tensors. Launch: quantise 256 threads of 16 elements each,
// striding; quantise_transposed a block of 256 for a tile of 64 x 64, the grid [width, rows] / 64; next_scales a warp for each
// tensor. Counts, rows and widths are multiples of 16, pointers aligned to 16 bytes.
#include "brazier.cuh"

namespace {

constexpr int kInverse = 0, kScale = 1, kSeen = 2, kHistory = 16, kWidth = 32;
constexpr int kPiece = 16;
constexpr int kTile = 64;
// 16-byte pieces stay aligned, and columns of one piece apart in shared memory.
constexpr int kTileBytes = kTile + 16;

struct E4M3 {
    static __device__ __forceinline__ unsigned pack(float low, float high) { return pack_e4m3(low, high); }
};

struct E5M2 {
    static __device__ __forceinline__ unsigned pack(float low, float high) { return pack_e5m2(low, high); }
};

// A division of a normal number by the scale again gives one.
__device__ __forceinline__ float scale_of(float seen, float largest) { return fminf(largest / seen, 0x1p126f); }

// fmaxf passes over what is no number.
__device__ __forceinline__ float largest_of(float seen, const float (&x)[8]) {
#pragma unroll
    for (int e = 0; e < 8; e++) {
        seen = fmaxf(seen, fabsf(x[e]));
    }
    return seen;
}

__device__ __forceinline__ float scaled(float x, float scale) {
    return fabsf(x) < infinity() ? x * scale : __uint_as_float(0x7fffffffu);
}

template <typename Type>
__device__ __forceinline__ unsigned four(float a, float b, float c, float d, float scale) {
    return Type::pack(scaled(a, scale), scaled(b, scale)) | Type::pack(scaled(c, scale), scaled(d, scale)) << 16;
}

// 16 elements; returns the largest magnitude so far.
template <typename Type>
__device__ __forceinline__ float convert(const bf16* from, float scale, float seen, uint4& to) {
    float x[8], y[8];
    load_vector(from, x);
    load_vector(from + 8, y);
    to = uint4{
        four<Type>(x[0], x[1], x[2], x[3], scale), four<Type>(x[4], x[5], x[6], x[7], scale),
        four<Type>(y[0], y[1], y[2], y[3], scale), four<Type>(y[4], y[5], y[6], y[7], scale)};
    return largest_of(largest_of(seen, x), y);
}

__device__ __forceinline__ void note(float seen, float* state) {
    seen = block_reduce(seen, Max());
    if (threadIdx.x == 0) {
        atomicMax(reinterpret_cast<int*>(state + kSeen), __float_as_int(seen));
    }
}

template <typename Type>
__device__ __forceinline__ void quantise(const bf16* x, unsigned char* q, float* state, int64 count) {
    float scale = state[kScale], seen = 0.0f;
    for (int64 piece = global_thread(); piece < count / kPiece; piece += global_threads()) {
        uint4 packed;
        seen = convert<Type>(x + kPiece * piece, scale, seen, packed);
        *reinterpret_cast<uint4*>(q + kPiece * piece) = packed;
    }
    note(seen, state);
}

// A warp converts 32 rows of one piece of columns, so that its bytes of a column lie side by side in shared memory.
template <typename Type>
__device__ __forceinline__ void quantise_transposed(const bf16* x, unsigned char* q, float* state, int rows, int width) {
    __shared__ __align__(16) unsigned char tile[kTile * kTileBytes];
    int thread = static_cast<int>(threadIdx.x);
    int row = thread % kTile, column = thread / kTile * kPiece;
    int64 firstRow = static_cast<int64>(blockIdx.y) * kTile, firstColumn = static_cast<int64>(blockIdx.x) * kTile;
    float scale = state[kScale], seen = 0.0f;
    if (firstRow + row < rows && firstColumn + column < width) {
        uint4 packed;
        seen = convert<Type>(x + (firstRow + row) * width + firstColumn + column, scale, seen, packed);
        unsigned words[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
        for (int e = 0; e < kPiece; e++) {
            tile[(column + e) * kTileBytes + row] = static_cast<unsigned char>(words[e / 4] >> e % 4 * 8);
        }
    }
    __syncthreads();
    int target = thread / (kTile / kPiece), piece = thread % (kTile / kPiece) * kPiece;
    if (firstColumn + target < width && firstRow + piece < rows) {
        *reinterpret_cast<uint4*>(q + (firstColumn + target) * rows + firstRow + piece) =
            *reinterpret_cast<const uint4*>(tile + target * kTileBytes + piece);
    }
    note(seen, state);
}

}  // namespace

extern "C" __global__ void __launch_bounds__(1024)
    measure(const bf16* x, const bf16* w, int64 xCount, int64 wCount, float* xState, float* wState, float xLargest, float wLargest) {
    bool first = blockIdx.x == 0;
    const bf16* from = first ? x : w;
    float* state = first ? xState : wState;
    int64 vectors = (first ? xCount : wCount) / 8;
    float known = state[kScale];
    if (known != 0.0f) {
        return;
    }
    float seen = 0.0f;
    for (int64 v = threadIdx.x; v < vectors; v += blockDim.x) {
        float values[8];
        load_vector(from + 8 * v, values);
        seen = largest_of(seen, values);
    }
    seen = block_reduce(seen, Max());
    if (threadIdx.x == 0) {
        float scale = seen > 0.0f && seen < infinity() ? scale_of(seen, first ? xLargest : wLargest) : 1.0f;
        state[kScale] = scale;
        state[kInverse] = 1.0f / scale;
    }
}

#define QUANTISE(name, Type)                                                                                \
    extern "C" __global__ void __launch_bounds__(256)                                                       \
        quantise_##name(const bf16* x, unsigned char* q, float* state, int64 count) {                       \
        quantise<Type>(x, q, state, count);                                                                 \
    }                                                                                                       \
    extern "C" __global__ void __launch_bounds__(256)                                                       \
        quantise_transposed_##name(const bf16* x, unsigned char* q, float* state, int rows, int width) {    \
        quantise_transposed<Type>(x, q, state, rows, width);                                                \
    }

QUANTISE(e4m3, E4M3)
QUANTISE(e5m2, E5M2)

// Three rows a product, the last of which is the gradient's.
extern "C" __global__ void __launch_bounds__(256)
    next_scales(float* states, const float* accepted, int rows, float forwardLargest, float gradientLargest) {
    int row = static_cast<int>(warp_row());
    if (row >= rows) {
        return;
    }
    float* state = states + static_cast<int64>(row) * kWidth;
    float value = state[lane()];
    float seen = __shfl_sync(kAllLanes, value, kSeen);
    float newer = __shfl_up_sync(kAllLanes, value, 1);
    if (accepted[0] != 0.0f && seen < infinity() && lane() >= kHistory) {
        value = lane() == kHistory ? seen : newer;
    }
    float largest = warp_reduce(lane() >= kHistory ? value : 0.0f, Max());
    bool tells = largest > 0.0f && largest < infinity();
    float scale = tells ? scale_of(largest, row % 3 == 2 ? gradientLargest : forwardLargest) : 0.0f;
    value = lane() == kInverse ? (tells ? 1.0f / scale : 0.0f) : value;
    value = lane() == kScale ? scale : value;
    state[lane()] = lane() == kSeen ? 0.0f : value;
}
