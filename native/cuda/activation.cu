// Nonlinear functions f of one variable, and gated units (arXiv:2002.05202), where x [rows, 2 width] holds gate and up side by side.
//
//   gelu_tanh, gelu, relu, silu           y = f(x)            8 bytes and 9, 5, 1, 4 FLOPs an element in f32, 4 bytes in bf16
//   gelu_tanh_grad, …                    dx = dy f'(x)        12 bytes and 19, 11, 2, 9 FLOPs, 6 bytes in bf16
//   gated_gelu_tanh, gated_silu           y = f(gate) up      12 bytes and 10, 5 FLOPs an element of y, 6 bytes in bf16
//   gated_gelu_tanh_grad, …           dgate = dy up f'(gate), dup = dy f(gate)
//                                                             20 bytes and 30, 15 FLOPs, 10 bytes in bf16
//
// y may be x; dx may be dy of a function and x of a gated unit. Bound on an H100: memory, 3.35 TB/s. Launch: 256 threads, each
// striding over 16-byte vectors; pointers are 16-byte aligned. Rows of gates that do not hold whole vectors are taken by elements.
#include "brazier.cuh"

// exp(-80): beyond it the slopes below are 0 in f32, and no product of them overflows.
__device__ __forceinline__ float bounded_exponential(float x) { return expf(fminf(x, 80.0f)); }

// x (1 + tanh(u)) / 2 = x / (1 + exp(-2 u)), u = sqrt(2 / pi) (x + 0.044715 x^3) (arXiv:1606.08415, sec. 2).
struct GeluTanh {
    static constexpr float kLinear = 1.5957691216f, kCubic = 0.0713548163f;  // of 2 u

    static __device__ __forceinline__ float exponent(float x) { return -x * fmaf(x * x, kCubic, kLinear); }

    static __device__ __forceinline__ float value(float x) { return x / (1.0f + expf(exponent(x))); }

    // s + x s (1 - s) 2 u' with s = 1 / (1 + exp(-2 u)), where 1 - s = exp(-2 u) s.
    static __device__ __forceinline__ float slope(float x) {
        float e = bounded_exponential(exponent(x)), s = 1.0f / (1.0f + e);
        return fmaf(x * (e * s * s), fmaf(x * x, 3.0f * kCubic, kLinear), s);
    }
};

// x Phi(x) (arXiv:1606.08415, eq. 1).
struct Gelu {
    static __device__ __forceinline__ float phi(float x) { return 0.5f * erfcf(-0.70710678f * x); }

    static __device__ __forceinline__ float value(float x) { return x * phi(x); }

    static __device__ __forceinline__ float slope(float x) { return fmaf(0.3989422804f * x, expf(-0.5f * x * x), phi(x)); }
};

struct Relu {
    static __device__ __forceinline__ float value(float x) { return x < 0.0f ? 0.0f : x; }

    static __device__ __forceinline__ float slope(float x) { return x > 0.0f ? 1.0f : 0.0f; }
};

// x s with s = 1 / (1 + exp(-x)) (arXiv:1702.03118).
struct Silu {
    static __device__ __forceinline__ float value(float x) { return x / (1.0f + expf(-x)); }

    // s (1 + x (1 - s)), where 1 - s = exp(-x) s.
    static __device__ __forceinline__ float slope(float x) {
        float e = bounded_exponential(-x), s = 1.0f / (1.0f + e);
        return s * fmaf(x, e * s, 1.0f);
    }
};

template <typename Function, int V, typename T>
__device__ __forceinline__ void activate_at(const T* x, T* y) {
    float v[V];
    load_elements<V>(x, v);
#pragma unroll
    for (int e = 0; e < V; e++) {
        v[e] = Function::value(v[e]);
    }
    store_elements<V>(y, v);
}

template <typename Function, int V, typename T>
__device__ __forceinline__ void activate_grad_at(const T* x, const T* dy, T* dx) {
    float v[V], g[V];
    load_elements<V>(x, v);
    load_elements<V>(dy, g);
#pragma unroll
    for (int e = 0; e < V; e++) {
        g[e] *= Function::slope(v[e]);
    }
    store_elements<V>(dx, g);
}

template <typename Function, typename T>
__device__ __forceinline__ void activate(const T* x, T* y, int64 count) {
    constexpr int V = kVector<T>;
    int64 vectors = count / V;
    for (int64 v = global_thread(); v < vectors; v += global_threads()) {
        activate_at<Function, V>(x + v * V, y + v * V);
    }
    for (int64 i = vectors * V + global_thread(); i < count; i += global_threads()) {
        activate_at<Function, 1>(x + i, y + i);
    }
}

template <typename Function, typename T>
__device__ __forceinline__ void activate_grad(const T* x, const T* dy, T* dx, int64 count) {
    constexpr int V = kVector<T>;
    int64 vectors = count / V;
    for (int64 v = global_thread(); v < vectors; v += global_threads()) {
        activate_grad_at<Function, V>(x + v * V, dy + v * V, dx + v * V);
    }
    for (int64 i = vectors * V + global_thread(); i < count; i += global_threads()) {
        activate_grad_at<Function, 1>(x + i, dy + i, dx + i);
    }
}

template <typename Function, typename T>
__device__ __forceinline__ void gated(const T* x, T* y, int64 rows, int64 width) {
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_piece<V>(rows, width, [=](int64 row, int64 column) {
            float gate[V], up[V];
            load_elements<V>(x + 2 * row * width + column, gate);
            load_elements<V>(x + (2 * row + 1) * width + column, up);
#pragma unroll
            for (int e = 0; e < V; e++) {
                up[e] *= Function::value(gate[e]);
            }
            store_elements<V>(y + row * width + column, up);
        });
    });
}

template <typename Function, typename T>
__device__ __forceinline__ void gated_grad(const T* x, const T* dy, T* dx, int64 rows, int64 width) {
    by_vectors<T>(width, [=](auto size) {
        constexpr int V = decltype(size)::value;
        for_each_piece<V>(rows, width, [=](int64 row, int64 column) {
            int64 first = 2 * row * width + column, second = first + width;
            float gate[V], up[V], g[V];
            load_elements<V>(x + first, gate);
            load_elements<V>(x + second, up);
            load_elements<V>(dy + row * width + column, g);
#pragma unroll
            for (int e = 0; e < V; e++) {
                up[e] *= g[e] * Function::slope(gate[e]);
                g[e] *= Function::value(gate[e]);
            }
            store_elements<V>(dx + first, up);
            store_elements<V>(dx + second, g);
        });
    });
}

#define ACTIVATION(name, Function, Type, T)                                                                                  \
    extern "C" __global__ void __launch_bounds__(256) name##_##Type(const T* x, T* y, int64 count) {                         \
        activate<Function>(x, y, count);                                                                                     \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) name##_grad_##Type(const T* x, const T* dy, T* dx, int64 count) {      \
        activate_grad<Function>(x, dy, dx, count);                                                                           \
    }

#define GATED(name, Function, Type, T)                                                                                       \
    extern "C" __global__ void __launch_bounds__(256) gated_##name##_##Type(const T* x, T* y, int64 rows, int64 width) {     \
        gated<Function>(x, y, rows, width);                                                                                  \
    }                                                                                                                        \
    extern "C" __global__ void __launch_bounds__(256) gated_##name##_grad_##Type(                                            \
        const T* x, const T* dy, T* dx, int64 rows, int64 width) {                                                           \
        gated_grad<Function>(x, dy, dx, rows, width);                                                                        \
    }

#define FUNCTIONS(Type, T)                  \
    ACTIVATION(gelu_tanh, GeluTanh, Type, T) \
    ACTIVATION(gelu, Gelu, Type, T)          \
    ACTIVATION(relu, Relu, Type, T)          \
    ACTIVATION(silu, Silu, Type, T)          \
    GATED(gelu_tanh, GeluTanh, Type, T)      \
    GATED(silu, Silu, Type, T)

FUNCTIONS(f32, float)
FUNCTIONS(bf16, bf16)
