// Norms over rows of x [rows, width], and sums over its columns; x, dy and dx are of one type T, gamma and beta of a type W, all
// statistics and gradients of weights f32.
//
//   layer_norm            mean, rstd = 1 / sqrt(variance + epsilon), y = (x - mean) rstd gamma + beta     4 bytes, 8 FLOPs
//   rms_norm              rstd = 1 / sqrt(mean(x^2) + epsilon), y = x rstd gamma                          4 bytes, 4 FLOPs
//   layer_norm_grad       dx = rstd (g - mean(g) - xhat mean(g xhat)) (+ addend), g = dy gamma            6 (8) bytes, 11 FLOPs
//   rms_norm_grad         dx = rstd (g - xhat mean(g xhat)) (+ addend), xhat = x rstd                     6 (8) bytes, 8 FLOPs
//   layer_norm_columns    parts of dgamma = sum of dy xhat and of dbeta = sum of dy over rows             4 bytes, 5 FLOPs
//   rms_norm_columns      parts of dgamma = sum of dy x rstd                                              4 bytes, 3 FLOPs
//   sum_columns           parts of the sum over rows of x                                                 2 bytes, 1 FLOP
//   add_parts             y = sum over parts (+ addend)                              4 bytes and 1 FLOP an element of a part
//
// Bytes and FLOPs are those of an element in bf16; f32 takes twice the bytes. dx may be its addend, and dy for rms_norm_grad.
// Bound on an H100: memory, 3.35 TB/s; rows are read from DRAM once and again from a cache: were each warp to take a row, those in
// flight would not fit into L2 from a width of about 4096 on. Launch of norms: a block a row, of a thread for each of its vectors, 32
// to 256, grid rows. Launch of sums: 256 threads take 32 vectors of columns and a slice of rows, grid (ceil(width / 32 / vector),
// slices), then 32 columns of their parts, grid ceil(width / 32). Sums depend on shapes alone.
#include "brazier.cuh"

constexpr int kWarps = 8;

// f(column) for every V-th column of a row, shared out over the threads of a block.
template <int V, typename F>
__device__ __forceinline__ void for_each_in_block(int width, F f) {
    for (int column = static_cast<int>(threadIdx.x) * V; column < width; column += static_cast<int>(blockDim.x) * V) {
        f(column);
    }
}

template <typename T, typename W>
__device__ __forceinline__ void layer_norm(
    const T* x, const W* gamma, const W* beta, T* y, float* mean, float* rstd, int width, float epsilon) {
    int64 row = blockIdx.x;
    x += row * width, y += row * width;
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        float sum = 0.0f, squares = 0.0f;
        for_each_in_block<V>(width, [&](int column) {
            float v[V];
            load_elements<V>(x + column, v);
#pragma unroll
            for (int e = 0; e < V; e++) {
                sum += v[e];
            }
        });
        float m = block_reduce(sum, Sum()) / static_cast<float>(width);
        for_each_in_block<V>(width, [&](int column) {
            float v[V];
            load_elements<V>(x + column, v);
#pragma unroll
            for (int e = 0; e < V; e++) {
                squares = fmaf(v[e] - m, v[e] - m, squares);
            }
        });
        float r = 1.0f / sqrtf(block_reduce(squares, Sum()) / static_cast<float>(width) + epsilon);
        if (threadIdx.x == 0) {
            mean[row] = m;
            rstd[row] = r;
        }
        for_each_in_block<V>(width, [&](int column) {
            float v[V], g[V], b[V];
            load_elements<V>(x + column, v);
            load_elements<V>(gamma + column, g);
            load_elements<V>(beta + column, b);
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] = fmaf((v[e] - m) * r, g[e], b[e]);
            }
            store_elements<V>(y + column, v);
        });
    });
}

template <typename T, typename W>
__device__ __forceinline__ void rms_norm(
    const T* x, const W* gamma, T* y, float* rstd, int width, float epsilon) {
    int64 row = blockIdx.x;
    x += row * width, y += row * width;
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        float squares = 0.0f;
        for_each_in_block<V>(width, [&](int column) {
            float v[V];
            load_elements<V>(x + column, v);
#pragma unroll
            for (int e = 0; e < V; e++) {
                squares = fmaf(v[e], v[e], squares);
            }
        });
        float r = 1.0f / sqrtf(block_reduce(squares, Sum()) / static_cast<float>(width) + epsilon);
        if (threadIdx.x == 0) {
            rstd[row] = r;
        }
        for_each_in_block<V>(width, [&](int column) {
            float v[V], g[V];
            load_elements<V>(x + column, v);
            load_elements<V>(gamma + column, g);
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] *= r * g[e];
            }
            store_elements<V>(y + column, v);
        });
    });
}

// Gradients of both norms: xhat = (x - mean) rstd, where the root-mean-square norm has no mean.
template <bool kHasMean, typename T, typename W>
__device__ __forceinline__ void norm_grad(const T* x, const T* dy, const W* gamma, const float* mean, const float* rstd,
    const T* addend, T* dx, int width) {
    int64 row = blockIdx.x;
    float m = kHasMean ? mean[row] : 0.0f, r = rstd[row];
    x += row * width, dy += row * width, dx += row * width;
    const T* plus = addend == nullptr ? nullptr : addend + row * width;
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        float sumG = 0.0f, sumGX = 0.0f;
        for_each_in_block<V>(width, [&](int column) {
            float v[V], g[V], w[V];
            load_elements<V>(x + column, v);
            load_elements<V>(dy + column, g);
            load_elements<V>(gamma + column, w);
#pragma unroll
            for (int e = 0; e < V; e++) {
                sumG = fmaf(g[e], w[e], sumG);
                sumGX = fmaf(g[e] * w[e], (v[e] - m) * r, sumGX);
            }
        });
        float meanG = kHasMean ? block_reduce(sumG, Sum()) / static_cast<float>(width) : 0.0f;
        float meanGX = block_reduce(sumGX, Sum()) / static_cast<float>(width);
        for_each_in_block<V>(width, [&](int column) {
            float v[V], g[V], w[V];
            load_elements<V>(x + column, v);
            load_elements<V>(dy + column, g);
            load_elements<V>(gamma + column, w);
#pragma unroll
            for (int e = 0; e < V; e++) {
                v[e] = r * (g[e] * w[e] - meanG - (v[e] - m) * r * meanGX);
            }
            if (plus != nullptr) {
                load_elements<V>(plus + column, w);
#pragma unroll
                for (int e = 0; e < V; e++) {
                    v[e] += w[e];
                }
            }
            store_elements<V>(dx + column, v);
        });
    });
}

// Sums of kSums terms over a slice of rows: add(sums, at, row, V, column) adds those of V columns to sums[..][at ..]. Rows are shared
// out over the warps of the block; parts [kSums, slices, width].
template <typename T, int kSums, typename F>
__device__ __forceinline__ void column_parts(float* parts, int64 rows, int width, F add) {
    constexpr int kColumns = kWarpSize * kVector<T>;
    __shared__ float shared[kWarps][kColumns];
    int first = static_cast<int>(blockIdx.x) * kColumns;
    int64 slice = blockIdx.y, slices = gridDim.y, from = rows * slice / slices, to = rows * (slice + 1) / slices;
    bool whole = width % kVector<T> == 0;
    float sums[kSums][kVector<T>] = {};
    for (int64 row = from + warp(); row < to; row += kWarps) {
        if (whole) {
            int column = first + lane() * kVector<T>;
            if (column < width) {
                add(sums, 0, row, Constant<kVector<T>>{}, column);
            }
        } else {
#pragma unroll
            for (int e = 0; e < kVector<T>; e++) {
                int column = first + e * kWarpSize + lane();
                if (column < width) {
                    add(sums, e, row, Constant<1>{}, column);
                }
            }
        }
    }
#pragma unroll
    for (int s = 0; s < kSums; s++) {
        __syncthreads();
#pragma unroll
        for (int e = 0; e < kVector<T>; e++) {
            shared[warp()][whole ? lane() * kVector<T> + e : e * kWarpSize + lane()] = sums[s][e];
        }
        __syncthreads();
        int x = static_cast<int>(threadIdx.x);
        if (x < kColumns && first + x < width) {
            float total = 0.0f;
#pragma unroll
            for (int w = 0; w < kWarps; w++) {
                total += shared[w][x];
            }
            parts[(s * slices + slice) * width + first + x] = total;
        }
    }
}

template <typename T>
__device__ __forceinline__ void layer_norm_columns(
    const T* x, const T* dy, const float* mean, const float* rstd, float* parts, int64 rows, int width) {
    column_parts<T, 2>(parts, rows, width, [=](auto& sums, int at, int64 row, auto size, int column) {
        constexpr int V = decltype(size)::value;
        float v[V], g[V], m = mean[row], r = rstd[row];
        load_elements<V>(x + row * width + column, v);
        load_elements<V>(dy + row * width + column, g);
#pragma unroll
        for (int e = 0; e < V; e++) {
            sums[0][at + e] = fmaf(g[e], (v[e] - m) * r, sums[0][at + e]);
            sums[1][at + e] += g[e];
        }
    });
}

template <typename T>
__device__ __forceinline__ void rms_norm_columns(
    const T* x, const T* dy, const float* rstd, float* parts, int64 rows, int width) {
    column_parts<T, 1>(parts, rows, width, [=](auto& sums, int at, int64 row, auto size, int column) {
        constexpr int V = decltype(size)::value;
        float v[V], g[V], r = rstd[row];
        load_elements<V>(x + row * width + column, v);
        load_elements<V>(dy + row * width + column, g);
#pragma unroll
        for (int e = 0; e < V; e++) {
            sums[0][at + e] = fmaf(g[e], v[e] * r, sums[0][at + e]);
        }
    });
}

template <typename T>
__device__ __forceinline__ void sum_columns(const T* x, float* parts, int64 rows, int width) {
    column_parts<T, 1>(parts, rows, width, [=](auto& sums, int at, int64 row, auto size, int column) {
        constexpr int V = decltype(size)::value;
        float v[V];
        load_elements<V>(x + row * width + column, v);
#pragma unroll
        for (int e = 0; e < V; e++) {
            sums[0][at + e] += v[e];
        }
    });
}

extern "C" __global__ void __launch_bounds__(256)
    add_parts(const float* parts, const float* addend, float* y, int slices, int width) {
    __shared__ float shared[kWarps][kWarpSize];
    int column = static_cast<int>(blockIdx.x) * kWarpSize + lane();
    float sum = 0.0f;
    for (int slice = warp(); column < width && slice < slices; slice += kWarps) {
        sum += parts[static_cast<int64>(slice) * width + column];
    }
    shared[warp()][lane()] = sum;
    __syncthreads();
    if (warp() == 0 && column < width) {
        float total = addend == nullptr ? 0.0f : addend[column];
#pragma unroll
        for (int w = 0; w < kWarps; w++) {
            total += shared[w][lane()];
        }
        y[column] = total;
    }
}

#define ROWS(Type, T, WType, W)                                                                                              \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_##Type##_##WType(const T* x, const W* gamma, const W* beta, \
        T* y, float* mean, float* rstd, int width, float epsilon) {                                              \
        layer_norm(x, gamma, beta, y, mean, rstd, width, epsilon);                                                     \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) rms_norm_##Type##_##WType(                                             \
        const T* x, const W* gamma, T* y, float* rstd, int width, float epsilon) {                               \
        rms_norm(x, gamma, y, rstd, width, epsilon);                                                                   \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_grad_##Type##_##WType(const T* x, const T* dy,              \
        const W* gamma, const float* mean, const float* rstd, const T* addend, T* dx, int width) {               \
        norm_grad<true>(x, dy, gamma, mean, rstd, addend, dx, width);                                                  \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) rms_norm_grad_##Type##_##WType(const T* x, const T* dy,                \
        const W* gamma, const float* rstd, const T* addend, T* dx, int width) {                                  \
        norm_grad<false>(x, dy, gamma, nullptr, rstd, addend, dx, width);                                              \
    }

ROWS(f32, float, f32, float)
ROWS(f32, float, bf16, bf16)
ROWS(bf16, bf16, f32, float)
ROWS(bf16, bf16, bf16, bf16)

#define COLUMNS(Type, T)                                                                                                     \
    extern "C" __global__ void __launch_bounds__(256) layer_norm_columns_##Type(                                             \
        const T* x, const T* dy, const float* mean, const float* rstd, float* parts, int64 rows, int width) {                \
        layer_norm_columns(x, dy, mean, rstd, parts, rows, width);                                                           \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) rms_norm_columns_##Type(                                               \
        const T* x, const T* dy, const float* rstd, float* parts, int64 rows, int width) {                                   \
        rms_norm_columns(x, dy, rstd, parts, rows, width);                                                                   \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) sum_columns_##Type(                                                    \
        const T* x, float* parts, int64 rows, int width) {                                                                   \
        sum_columns(x, parts, rows, width);                                                                                  \
    }

COLUMNS(f32, float)
COLUMNS(bf16, bf16)
