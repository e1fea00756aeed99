// Kernels with one planted bug each; the self-test names what must be said of them.
#include "brazier.cuh"

extern "C" __global__ void __launch_bounds__(128) missing_barrier(const float* x, float* y) {
    __shared__ float row[128];
    row[threadIdx.x] = x[threadIdx.x];
    y[threadIdx.x] = row[127 - threadIdx.x];
}

extern "C" __global__ void __launch_bounds__(128) missing_second_barrier(const float* x, float* y) {
    __shared__ float row[128];
    for (int round = 0; round < 2; round++) {
        row[threadIdx.x] = x[threadIdx.x] + round;
        __syncthreads();
        y[threadIdx.x] = row[127 - threadIdx.x];
    }
}

extern "C" __global__ void missing_warp_barrier(float* y) {
    __shared__ float row[32];
    row[threadIdx.x] = threadIdx.x;
    __shfl_xor_sync(kAllLanes, row[threadIdx.x], 1);
    y[threadIdx.x] = row[31 - threadIdx.x];
}

extern "C" __global__ void same_place_twice(float* y) {
    __shared__ float place;
    place = 1.0f;
    __syncthreads();
    y[threadIdx.x] = place;
}

extern "C" __global__ void beyond_array(float* y, int count) {
    __shared__ float row[64];
    for (int i = 0; i < count; i++) {
        row[i] = i;
    }
    y[0] = row[0];
}

__device__ __noinline__ void fill(float* row, int count) {
    for (int i = 0; i < count; i++) {
        row[i] = i;
    }
}

extern "C" __global__ void beyond_array_by_pointer(float* y, int count) {
    __shared__ float before[64], row[64], after[64];
    fill(row, count);
    fill(before, 64);
    fill(after, 64);
    y[0] = row[0] + before[1] + after[2];
}

extern "C" __global__ void beyond_dynamic(float* y, int count) {
    DYNAMIC_SHARED(float, row);
    fill(row, count);
    y[0] = row[0];
}

extern "C" __global__ void beyond_global(const float* x, float* y, int count) {
    int i = threadIdx.x;
    if (i <= count) {
        y[i] = 2.0f * x[i];
    }
}

extern "C" __global__ void barriers_apart(float* y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    } else {
        __syncthreads();
    }
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void barrier_for_some(float* y) {
    if (threadIdx.x < 16) {
        __syncthreads();
    }
    y[threadIdx.x] = 1.0f;
}

extern "C" __global__ void barrier_and_shuffle(float* y) {
    float v = threadIdx.x;
    if (threadIdx.x == 5) {
        __syncthreads();
    } else {
        v = __shfl_xor_sync(kAllLanes, v, 1);
    }
    y[threadIdx.x] = v;
}

extern "C" __global__ void shuffle_of_the_gone(float* y) {
    if (threadIdx.x >= 30) {
        return;
    }
    y[threadIdx.x] = __shfl_down_sync(kAllLanes, 1.0f, 1);
}

extern "C" __global__ void shuffle_without_itself(float* y) {
    y[threadIdx.x] = __shfl_sync(0xffff0000u, 1.0f, 16);
}

extern "C" __global__ void misaligned_vector(const float* x, float* y) {
    float4 v = *reinterpret_cast<const float4*>(x + 4 * threadIdx.x + 1);
    y[threadIdx.x] = v.x + v.w;
}

extern "C" __global__ void missing_copy_wait(const float* x, float* y) {
    __shared__ __align__(16) float row[128];
    cp_async_16(row + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
    cp_async_commit();
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x];
}

extern "C" __global__ void one_group_too_few(const float* x, float* y) {
    __shared__ __align__(16) float row[256];
    for (int half = 0; half < 2; half++) {
        cp_async_16(row + 128 * half + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
        cp_async_commit();
    }
    cp_async_wait<1>();
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x] + row[128 + threadIdx.x];
}

extern "C" __global__ void copy_without_barrier(const float* x, float* y) {
    __shared__ __align__(16) float row[128];
    cp_async_16(row + 4 * threadIdx.x, x + 4 * threadIdx.x, true);
    cp_async_commit();
    cp_async_wait<0>();
    y[threadIdx.x] = row[4 * (31 - threadIdx.x)];
}

extern "C" __global__ void unwritten_shared(float* y) {
    __shared__ float row[128];
    if (threadIdx.x < 31) {
        row[threadIdx.x] = 1.0f;
    }
    __syncthreads();
    y[threadIdx.x] = row[threadIdx.x];
}

extern "C" __global__ void left_from_the_last_block(float* y) {
    __shared__ float total;
    if (blockIdx.x == 0 && threadIdx.x == 0) {
        total = 3.0f;
    }
    __syncthreads();
    y[threadIdx.x] = total;
}

extern "C" __global__ void divided_by_zero(int* y, int by) { y[threadIdx.x] = 7 / by; }

extern "C" __global__ void misaligned_matrix(float* y) {
    __shared__ __align__(16) bf16 tile[16 * 12];
    for (int i = threadIdx.x; i < 16 * 12; i += 32) {
        tile[i] = from_float<bf16>(1.0f);
    }
    __syncthreads();
    unsigned r[4];
    ldmatrix_x4(r, tile + threadIdx.x % 16 * 12);
    y[threadIdx.x] = low_bf16(r[0]);
}

extern "C" __global__ void blocks_add_to_one(float* y) { y[threadIdx.x] += 1.0f; }

extern "C" __global__ void neighbour_of_another_block(float* y) {
    int i = static_cast<int>(global_thread());
    float next = y[(i + 1) % 128];
    y[i] = next;
}

extern "C" __global__ void global_without_barrier(float* y) {
    y[threadIdx.x] = 1.0f;
    y[64 + threadIdx.x] = y[(threadIdx.x + 32) % 64];
}
