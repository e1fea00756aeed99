// Kernels without bugs, in each of the manners that the emulator must allow.
#include "brazier.cuh"

extern "C" __global__ void __launch_bounds__(256) add(const float* a, const float* b, float* y, int64 count) {
    for (int64 i = global_thread(); i < count; i += global_threads()) {
        y[i] = a[i] + b[i];
    }
}

extern "C" __global__ void __launch_bounds__(256) block_sums(const float* x, float* y, int width) {
    float sum = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        sum += x[static_cast<int64>(blockIdx.x) * width + i];
    }
    sum = block_reduce(sum, Sum());
    if (threadIdx.x == 0) {
        y[blockIdx.x] = sum;
    }
}

extern "C" __global__ void __launch_bounds__(256) softmax(const bf16* x, bf16* y, int width) {
    DYNAMIC_SHARED(float, row);
    const bf16* from = x + static_cast<int64>(blockIdx.x) * width;
    float largest = -infinity();
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        row[i] = to_float(from[i]);
        largest = fmaxf(largest, row[i]);
    }
    largest = block_reduce(largest, Max());
    float sum = 0.0f;
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        row[i] = expf(row[i] - largest);
        sum += row[i];
    }
    sum = block_reduce(sum, Sum());
    for (int i = threadIdx.x; i < width; i += blockDim.x) {
        y[static_cast<int64>(blockIdx.x) * width + i] = from_float<bf16>(row[i] / sum);
    }
}

// y [16, 8] = a [16, 16] b [8, 16]^T, fragments loaded element by element as the PTX ISA lays them out.
extern "C" __global__ void mma_by_hand(const bf16* a, const bf16* b, float* y) {
    int group = lane() / 4, pair = lane() % 4 * 2;
    auto two = [](const bf16* from) { return from[0].bits | static_cast<unsigned>(from[1].bits) << 16; };
    unsigned left[4] = {two(a + group * 16 + pair), two(a + (group + 8) * 16 + pair), two(a + group * 16 + pair + 8),
                        two(a + (group + 8) * 16 + pair + 8)};
    unsigned right[2] = {two(b + group * 16 + pair), two(b + group * 16 + pair + 8)};
    float d[4] = {0.0f, 0.0f, 0.0f, 0.0f};
    mma_bf16(d, left, right);
    y[group * 8 + pair] = d[0], y[group * 8 + pair + 1] = d[1];
    y[(group + 8) * 8 + pair] = d[2], y[(group + 8) * 8 + pair + 1] = d[3];
}

// The same for b [16, 8] through asynchronous copies and ldmatrix, the result added to what y holds.
extern "C" __global__ void mma_by_ldmatrix(const bf16* a, const bf16* b, float* y) {
    __shared__ __align__(16) bf16 left[16 * 16], right[16 * 8];
    cp_async_16(left + 8 * lane(), a + 8 * lane(), true);
    cp_async_commit();
    if (lane() < 16) {
        cp_async_16(right + 8 * lane(), b + 8 * lane(), true);
    }
    cp_async_commit();
    cp_async_wait<0>();
    __syncthreads();
    unsigned x[4], z[4];
    ldmatrix_x4(x, left + lane() % 16 * 16 + lane() / 16 * 8);
    // Tiles 2 and 3 are those of rows 0 and 8 again.
    ldmatrix_x4_trans(z, right + lane() % 16 * 8);
    int group = lane() / 4, pair = lane() % 4 * 2;
    float d[4] = {y[group * 8 + pair], y[group * 8 + pair + 1], y[(group + 8) * 8 + pair], y[(group + 8) * 8 + pair + 1]};
    mma_bf16(d, x, {z[0], z[1]});
    y[group * 8 + pair] = d[0], y[group * 8 + pair + 1] = d[1];
    y[(group + 8) * 8 + pair] = d[2], y[(group + 8) * 8 + pair + 1] = d[3];
}

// Halves of a warp sum apart, at different times, then both together.
extern "C" __global__ void sub_warps(float* y) {
    float v = threadIdx.x;
    unsigned mask = lane() < 16 ? 0x0000ffffu : 0xffff0000u;
    for (int round = 0; round < (lane() < 16 ? 3 : 1); round++) {
        for (int distance = 8; distance > 0; distance /= 2) {
            float other = __shfl_xor_sync(mask, v, distance);
            v = round == 0 ? v + other : v;
        }
        __syncwarp(mask);
    }
    unsigned odd = __ballot_sync(kAllLanes, threadIdx.x & 1);
    v += __shfl_xor_sync(kAllLanes, v, 16);
    float next = __shfl_down_sync(kAllLanes, v + lane(), 1);
    float before = __shfl_up_sync(kAllLanes, v + lane(), 1, 8);
    int all = __all_sync(kAllLanes, odd == 0xaaaaaaaau), any = __any_sync(kAllLanes, lane() == 7);
    y[threadIdx.x] = v + 1000.0f * (next - v) + 100000.0f * (before - v) + (all && any ? 0.5f : 0.0f);
}

// Threads beyond the data leave first.
extern "C" __global__ void early_exit(const float* x, float* y, int count) {
    __shared__ float row[64];
    if (static_cast<int>(threadIdx.x) >= count) {
        return;
    }
    row[threadIdx.x] = x[threadIdx.x];
    __syncthreads();
    y[threadIdx.x] = row[count - 1 - threadIdx.x];
}

// A warp exchanges through shared memory with barriers of its own.
extern "C" __global__ void warp_exchange(float* y) {
    __shared__ bf16 row[128];
    int base = warp() * kWarpSize;
    for (int round = 0; round < 3; round++) {
        row[base + lane()] = from_float<bf16>(threadIdx.x + round);
        __syncwarp();
        y[threadIdx.x] = to_float(row[base + kWarpSize - 1 - lane()]);
        __syncwarp();
    }
}

extern "C" __global__ void histogram(const int* x, int* y, int count) {
    __shared__ int bins[16];
    if (threadIdx.x < 16) {
        bins[threadIdx.x] = 0;
    }
    __syncthreads();
    for (int i = threadIdx.x; i < count; i += blockDim.x) {
        atomicAdd(&bins[x[i]], 1);
    }
    __syncthreads();
    if (threadIdx.x < 16) {
        atomicAdd(&y[threadIdx.x], bins[threadIdx.x]);
    }
}

// Each block leaves a sum; the last to come, whichever it is, adds them.
extern "C" __global__ void last_block_adds(float* partial, unsigned* arrived, float* y) {
    __shared__ unsigned place;
    float sum = block_reduce(static_cast<float>(global_thread()), Sum());
    if (threadIdx.x == 0) {
        partial[blockIdx.x] = sum;
        __threadfence();
        place = atomicAdd(arrived, 1u);
    }
    __syncthreads();
    if (place == gridDim.x - 1 && threadIdx.x == 0) {
        for (unsigned x = 0; x < gridDim.x; x++) {
            y[0] += partial[x];
        }
    }
}

// Neighbouring threads of different warps and blocks write the halves of a word, in place.
extern "C" __global__ void halves_of_words(bf16* x) {
    int64 i = global_thread();
    if (i > 0) {
        x[i] = from_float<bf16>(2.0f * to_float(x[i]));
    }
}

__constant__ float kWeights[4] = {1.0f, 10.0f, 100.0f, 1000.0f};

extern "C" __global__ void dimensions(float* y, unsigned width, float scale) {
    unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
    unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
    y[block * width + thread] = scale * (kWeights[threadIdx.x % 4] + threadIdx.y + threadIdx.z * 0.25f);
}

#ifndef __CUDACC__
extern "C" __global__ void narrow_numbers(const float* x, float* y, int count) {
    int i = threadIdx.x;
    if (i < count) {
        y[4 * i] = to_float(from_float<bf16>(x[i]));
        y[4 * i + 1] = cudasim_from_e4m3(cudasim_to_e4m3(x[i]));
        y[4 * i + 2] = cudasim_from_e5m2(cudasim_to_e5m2(x[i]));
        y[4 * i + 3] = fmaxf(x[i], infinity() - infinity());
    }
}
#endif
