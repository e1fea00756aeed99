// Numbers of the CUDA language: functions of the C library under their names, and those that only CUDA has.
#pragma once

extern "C" {
float expf(float), exp2f(float), exp10f(float), expm1f(float), logf(float), log2f(float), log10f(float), log1pf(float);
float tanhf(float), sinhf(float), coshf(float), erff(float), erfcf(float), sinf(float), cosf(float), tanf(float);
float atanf(float), atan2f(float, float), powf(float, float), fmodf(float, float), cbrtf(float), lgammaf(float);
double exp(double), exp2(double), log(double), log2(double), log1p(double), tanh(double), erf(double), sin(double);
double cos(double), pow(double, double), fmod(double, double);
}

// Functions that the compiler expands in place.
__forceinline__ float sqrtf(float x) { return __builtin_sqrtf(x); }
__forceinline__ float fabsf(float x) { return __builtin_fabsf(x); }
__forceinline__ float floorf(float x) { return __builtin_floorf(x); }
__forceinline__ float ceilf(float x) { return __builtin_ceilf(x); }
__forceinline__ float truncf(float x) { return __builtin_truncf(x); }
__forceinline__ float rintf(float x) { return __builtin_rintf(x); }
__forceinline__ float roundf(float x) { return __builtin_roundf(x); }
__forceinline__ float copysignf(float x, float y) { return __builtin_copysignf(x, y); }
__forceinline__ float fmaf(float x, float y, float z) { return __builtin_fmaf(x, y, z); }
__forceinline__ double sqrt(double x) { return __builtin_sqrt(x); }
__forceinline__ double fabs(double x) { return __builtin_fabs(x); }
__forceinline__ double floor(double x) { return __builtin_floor(x); }
__forceinline__ double fma(double x, double y, double z) { return __builtin_fma(x, y, z); }
__forceinline__ bool isnan(float x) { return __builtin_isnan(x); }
__forceinline__ bool isinf(float x) { return __builtin_isinf(x); }
__forceinline__ bool isfinite(float x) { return __builtin_isfinite(x); }
__forceinline__ float rsqrtf(float x) { return 1.0f / __builtin_sqrtf(x); }
__forceinline__ double rsqrt(double x) { return 1.0 / __builtin_sqrt(x); }

// The other operand where one is not a number.
__forceinline__ float fmaxf(float x, float y) { return x >= y || y != y ? x : y; }
__forceinline__ float fminf(float x, float y) { return x <= y || y != y ? x : y; }
__forceinline__ double fmax(double x, double y) { return x >= y || y != y ? x : y; }
__forceinline__ double fmin(double x, double y) { return x <= y || y != y ? x : y; }

__forceinline__ void sincosf(float x, float* sine, float* cosine) { *sine = sinf(x), *cosine = cosf(x); }
__forceinline__ float fdividef(float x, float y) { return x / y; }
__forceinline__ float __fdividef(float x, float y) { return x / y; }
__forceinline__ float __frcp_rn(float x) { return 1.0f / x; }
__forceinline__ float __fsqrt_rn(float x) { return __builtin_sqrtf(x); }
__forceinline__ float __frsqrt_rn(float x) { return 1.0f / __builtin_sqrtf(x); }
__forceinline__ float __expf(float x) { return expf(x); }
__forceinline__ float __exp10f(float x) { return exp10f(x); }
__forceinline__ float __logf(float x) { return logf(x); }
__forceinline__ float __log2f(float x) { return log2f(x); }
__forceinline__ float __powf(float x, float y) { return powf(x, y); }
__forceinline__ float __sinf(float x) { return sinf(x); }
__forceinline__ float __cosf(float x) { return cosf(x); }

#define CUDASIM_MIN_MAX(T)                                    \
    __forceinline__ T min(T x, T y) { return y < x ? y : x; } \
    __forceinline__ T max(T x, T y) { return x < y ? y : x; }

CUDASIM_MIN_MAX(int)
CUDASIM_MIN_MAX(unsigned)
CUDASIM_MIN_MAX(long long)
CUDASIM_MIN_MAX(unsigned long long)
__forceinline__ float min(float x, float y) { return fminf(x, y); }
__forceinline__ float max(float x, float y) { return fmaxf(x, y); }
__forceinline__ int abs(int x) { return __builtin_abs(x); }

// ---- bits ----

template <typename To, typename From>
__forceinline__ To cudasim_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of another size");
    To to;
    __builtin_memcpy(&to, &from, sizeof(To));
    return to;
}

__forceinline__ unsigned __float_as_uint(float x) { return cudasim_bits<unsigned>(x); }
__forceinline__ int __float_as_int(float x) { return cudasim_bits<int>(x); }
__forceinline__ float __uint_as_float(unsigned x) { return cudasim_bits<float>(x); }
__forceinline__ float __int_as_float(int x) { return cudasim_bits<float>(x); }
__forceinline__ unsigned __umulhi(unsigned x, unsigned y) {
    return static_cast<unsigned>(static_cast<unsigned long long>(x) * y >> 32);
}
__forceinline__ int __mulhi(int x, int y) { return static_cast<int>(static_cast<long long>(x) * y >> 32); }
__forceinline__ int __popc(unsigned x) { return __builtin_popcount(x); }
__forceinline__ int __clz(int x) { return x == 0 ? 32 : __builtin_clz(static_cast<unsigned>(x)); }
__forceinline__ int __ffs(int x) { return __builtin_ffs(x); }
__forceinline__ unsigned __brev(unsigned x) {
    unsigned reversed = 0;
    for (int bit = 0; bit < 32; bit++) {
        reversed |= (x >> bit & 1) << (31 - bit);
    }
    return reversed;
}
__forceinline__ int __float2int_rn(float x) { return static_cast<int>(__builtin_rintf(x)); }
__forceinline__ int __float2int_rz(float x) { return static_cast<int>(x); }
__forceinline__ float __int2float_rn(int x) { return static_cast<float>(x); }
__forceinline__ float __uint2float_rn(unsigned x) { return static_cast<float>(x); }

// ---- narrow numbers, as the cvt instructions round them ----

// cvt.rn.bf16.f32: nearest, ties to even; every NaN becomes 0x7fff.
__forceinline__ unsigned short cudasim_to_bf16(float x) {
    unsigned bits = __float_as_uint(x);
    unsigned rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return static_cast<unsigned short>(x != x ? 0x7fffu : rounded);
}

// cvt.rn.bf16x2.f32, the lower half first.
__forceinline__ unsigned cudasim_pack_bf16(float low, float high) {
    return cudasim_to_bf16(low) | static_cast<unsigned>(cudasim_to_bf16(high)) << 16;
}

// An eight-bit number of 1 sign, some exponent and some mantissa bits; nearest, ties to even, beyond the largest the largest.
template <int mantissa_bits, int bias, unsigned largest>
__noinline__ unsigned char cudasim_to_fp8(float x) {
    unsigned sign = __float_as_uint(x) >> 31 << 7;
    float magnitude = fabsf(x);
    if (x != x) {
        return 0x7f;
    }
    // The spacing of numbers near x: that of its binade, not below that of the subnormals.
    int exponent = static_cast<int>(__float_as_uint(magnitude) >> 23) - 127;
    int lowest = 1 - bias;
    int binade = exponent < lowest ? lowest : exponent;
    float steps = rintf(magnitude * __uint_as_float(static_cast<unsigned>(mantissa_bits - binade + 127) << 23));
    float top = static_cast<float>(2u << mantissa_bits);
    unsigned code = exponent > 15 || steps > top
                        ? largest
                        : static_cast<unsigned>(steps) + (static_cast<unsigned>(binade - lowest) << mantissa_bits);
    return static_cast<unsigned char>(sign | (code > largest ? largest : code));
}

template <int mantissa_bits, int bias>
__forceinline__ float cudasim_from_fp8(unsigned code) {
    int field = static_cast<int>(code >> mantissa_bits & (0x7fu >> mantissa_bits));
    unsigned mantissa = code & ((1u << mantissa_bits) - 1);
    unsigned significand = field == 0 ? mantissa : mantissa | 1u << mantissa_bits;
    int exponent = (field == 0 ? 1 : field) - bias - mantissa_bits;
    float magnitude = static_cast<float>(significand) * __uint_as_float(static_cast<unsigned>(exponent + 127) << 23);
    return code & 0x80 ? -magnitude : magnitude;
}

// cvt.rn.satfinite.e4m3x2.f32 and e5m2x2 of one number: 1-4-3 with bias 7 up to 448, 1-5-2 with bias 15 up to 57344.
__forceinline__ unsigned char cudasim_to_e4m3(float x) { return cudasim_to_fp8<3, 7, 0x7e>(x); }
__forceinline__ unsigned char cudasim_to_e5m2(float x) { return cudasim_to_fp8<2, 15, 0x7b>(x); }

__forceinline__ float cudasim_from_e4m3(unsigned char code) {
    return (code & 0x7f) == 0x7f ? __uint_as_float(0x7fffffffu) : cudasim_from_fp8<3, 7>(code);
}

__forceinline__ float cudasim_from_e5m2(unsigned char code) {
    unsigned magnitude = code & 0x7fu;
    unsigned special = magnitude == 0x7c ? 0x7f800000u : 0x7fffffffu;
    return magnitude >= 0x7c ? __uint_as_float(special | static_cast<unsigned>(code >> 7) << 31)
                             : cudasim_from_fp8<2, 15>(code);
}
