// Rotation of heads by their position (arXiv:2104.09864), in the half-split convention: element i pairs with i + K / 2. The pair
// (a, b) becomes (a cos - b sin, b cos + a sin) of the angle position * frequency, backwards with direction -1; y may be x.
//
// x [rows, rowWidth] holds `heads` heads of width K to rotate, then columns to keep; positions i32 [rows]; quarterTurns f64
// [K / 2], the frequencies in quarter turns a position. The turns are split in double into a whole number, which picks the quadrant, and a
// rest of at most half a quarter, so that no angle is too large for the polynomials (Cephes' sinf and cosf on [-pi/4, pi/4]).
//
// Bytes: 4 an element in bf16, 8 in f32; 3 FLOPs. Bound on an H100: memory, 3.35 TB/s. Launch: a block of 256 threads a row, 4 K
// bytes of shared memory for its cosines and sines.
#include "brazier.cuh"

__device__ __forceinline__ void angle(double position, double quarterTurns, float& cosine, float& sine) {
    constexpr double kMagic = 6755399441055744.0;  // 1.5 * 2^52: adding it rounds to a whole number
    double turns = position * quarterTurns, whole = turns + kMagic - kMagic;
    int quadrant = static_cast<int>(static_cast<int64>(whole) & 3);
    float a = static_cast<float>(turns - whole) * 1.57079632679f, z = a * a;
    float s = fmaf(fmaf(fmaf(z, -1.9515295891e-4f, 8.3321608736e-3f), z, -1.6666654611e-1f) * z, a, a);
    float c = fmaf(fmaf(fmaf(z, 2.443315711809948e-5f, -1.388731625493765e-3f), z, 4.166664568298827e-2f) * z, z,
        fmaf(z, -0.5f, 1.0f));
    float x = quadrant % 2 == 0 ? c : s, y = quadrant % 2 == 0 ? s : c;
    cosine = quadrant == 1 || quadrant == 2 ? -x : x;
    sine = quadrant >= 2 ? -y : y;
}

// V elements a thread, all of which lie in one half of a head.
template <typename T, int V>
__device__ __forceinline__ void rotate(const T* from, T* to, const float* cosines, const float* sines, int heads, int half) {
    int pieces = half / V;
    for (int x = static_cast<int>(threadIdx.x); x < heads * pieces; x += static_cast<int>(blockDim.x)) {
        int pair = x % pieces * V, at = x / pieces * 2 * half + pair;
        float a[V], b[V];
        if constexpr (V == 1) {
            a[0] = to_float(from[at]), b[0] = to_float(from[at + half]);
        } else {
            load_vector(from + at, a);
            load_vector(from + at + half, b);
        }
#pragma unroll
        for (int e = 0; e < V; e++) {
            float c = cosines[pair + e], s = sines[pair + e], first = a[e];
            a[e] = first * c - b[e] * s;
            b[e] = b[e] * c + first * s;
        }
        if constexpr (V == 1) {
            to[at] = from_float<T>(a[0]), to[at + half] = from_float<T>(b[0]);
        } else {
            store_vector(to + at, a);
            store_vector(to + at + half, b);
        }
    }
}

template <typename T>
__device__ __forceinline__ void rotary(
    const T* x, const int* positions, const double* quarterTurns, T* y, int heads, int width, int rowWidth, float direction) {
    int half = width / 2, rotated = heads * width;
    DYNAMIC_SHARED(float, cosines);
    float* sines = cosines + half;
    const T* from = x + static_cast<int64>(blockIdx.x) * rowWidth;
    T* to = y + static_cast<int64>(blockIdx.x) * rowWidth;
    for (int i = static_cast<int>(threadIdx.x); i < half; i += static_cast<int>(blockDim.x)) {
        float cosine, sine;
        angle(positions[blockIdx.x], quarterTurns[i], cosine, sine);
        cosines[i] = cosine;
        sines[i] = direction * sine;
    }
    __syncthreads();
    if (half % kVector<T> == 0) {
        rotate<T, kVector<T>>(from, to, cosines, sines, heads, half);
    } else {
        rotate<T, 1>(from, to, cosines, sines, heads, half);
    }
    for (int i = rotated + static_cast<int>(threadIdx.x); from != to && i < rowWidth; i += static_cast<int>(blockDim.x)) {
        to[i] = from[i];
    }
}

extern "C" __global__ void __launch_bounds__(256) rotary_f32(const float* x, const int* positions, const double* quarterTurns,
    float* y, int heads, int width, int rowWidth, float direction) {
    rotary(x, positions, quarterTurns, y, heads, width, rowWidth, direction);
}

extern "C" __global__ void __launch_bounds__(256) rotary_bf16(const bf16* x, const int* positions, const double* quarterTurns,
    bf16* y, int heads, int width, int rowWidth, float direction) {
    rotary(x, positions, quarterTurns, y, heads, width, rowWidth, direction);
}
