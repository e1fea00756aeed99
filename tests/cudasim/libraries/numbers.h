// Element types of matrices and their conversion from and to float.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>

namespace cudasim {

// Values of cudaDataType.
enum Type : int { F32 = 0, F16 = 2, BF16 = 14, E4M3 = 28, E5M2 = 29 };

inline size_t bytesOf(int type) {
    switch (type) {
        case F32:
            return 4;
        case F16:
        case BF16:
            return 2;
        case E4M3:
        case E5M2:
            return 1;
        default:
            return 0;
    }
}

inline bool isFp8(int type) {
    return type == E4M3 || type == E5M2;
}

inline float bitsToFloat(uint32_t bits) {
    float value;
    memcpy(&value, &bits, 4);
    return value;
}

inline uint32_t floatToBits(float value) {
    uint32_t bits;
    memcpy(&bits, &value, 4);
    return bits;
}

inline float fromBrain(uint16_t bits) {
    return bitsToFloat(uint32_t{bits} << 16);
}

// Rounds to nearest, ties to even.
inline uint16_t toBrain(float value) {
    uint32_t bits = floatToBits(value);
    if (value != value) {
        return 0x7fff;
    }
    return static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

// A small float: sign, exponent with its bias, mantissa bits; the largest finite value lies at maxCode.
struct SmallFloat {
    int mantissa, bias;
    unsigned sign, maxCode, nan;
    float max;
};

constexpr SmallFloat HALF = {10, 15, 0x8000, 0x7bff, 0x7fff, 65504.0f};
constexpr SmallFloat FP8_E4M3 = {3, 7, 0x80, 0x7e, 0x7f, 448.0f};
constexpr SmallFloat FP8_E5M2 = {2, 15, 0x80, 0x7b, 0x7f, 57344.0f};

inline float decodeSmall(const SmallFloat& f, unsigned code) {
    unsigned magnitude = code & (f.sign - 1);
    float value;
    if (magnitude > f.maxCode) {
        bool infinite = f.maxCode + 1 != f.nan && magnitude == f.maxCode + 1;
        value = infinite ? INFINITY : NAN;
    } else {
        int exponent = static_cast<int>(magnitude >> f.mantissa);
        unsigned fraction = magnitude & ((1u << f.mantissa) - 1);
        value = exponent == 0 ? std::ldexp(static_cast<float>(fraction), 1 - f.bias - f.mantissa)
                              : std::ldexp(static_cast<float>(fraction + (1u << f.mantissa)), exponent - f.bias - f.mantissa);
    }
    return (code & f.sign) != 0 ? -value : value;
}

// Rounds to nearest, ties to even; what lies above the largest finite value becomes it, as cvt.rn.satfinite does.
inline unsigned encodeSmall(const SmallFloat& f, float value) {
    if (value != value) {
        return f.nan;
    }
    unsigned sign = std::signbit(value) ? f.sign : 0;
    float size = std::fabs(value);
    if (size >= f.max) {
        return sign | f.maxCode;
    }
    int exponent = size == 0 ? 1 - f.bias : std::max(std::ilogb(size), 1 - f.bias);
    unsigned scaled = static_cast<unsigned>(std::nearbyint(std::ldexp(size, f.mantissa - exponent)));
    if (scaled >= (2u << f.mantissa)) {
        scaled >>= 1;
        exponent++;
    }
    unsigned normal = 1u << f.mantissa;
    return sign | (scaled < normal ? scaled : (static_cast<unsigned>(exponent + f.bias) << f.mantissa) + (scaled - normal));
}

inline float loadFloat(int type, const void* base, size_t index) {
    switch (type) {
        case F32:
            return static_cast<const float*>(base)[index];
        case BF16:
            return fromBrain(static_cast<const uint16_t*>(base)[index]);
        case F16:
            return decodeSmall(HALF, static_cast<const uint16_t*>(base)[index]);
        case E4M3:
            return decodeSmall(FP8_E4M3, static_cast<const uint8_t*>(base)[index]);
        default:
            return decodeSmall(FP8_E5M2, static_cast<const uint8_t*>(base)[index]);
    }
}

inline void storeFloat(int type, void* base, size_t index, float value) {
    switch (type) {
        case F32:
            static_cast<float*>(base)[index] = value;
            break;
        case BF16:
            static_cast<uint16_t*>(base)[index] = toBrain(value);
            break;
        case F16:
            static_cast<uint16_t*>(base)[index] = static_cast<uint16_t>(encodeSmall(HALF, value));
            break;
        case E4M3:
            static_cast<uint8_t*>(base)[index] = static_cast<uint8_t>(encodeSmall(FP8_E4M3, value));
            break;
        default:
            static_cast<uint8_t*>(base)[index] = static_cast<uint8_t>(encodeSmall(FP8_E5M2, value));
    }
}

}  // namespace cudasim
