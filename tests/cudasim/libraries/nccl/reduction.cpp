#include "reduction.h"

#include <algorithm>
#include <cstdint>

#include "../numbers.h"

namespace cudasim {

namespace {

// Values of ncclDataType_t.
enum NcclType : int { INT8 = 0, UINT8 = 1, INT32 = 2, UINT32 = 3, INT64 = 4, UINT64 = 5, FLOAT32 = 7, FLOAT64 = 8, BFLOAT16 = 9 };

struct Brain {
    uint16_t bits;

    Brain() = default;
    explicit Brain(float value) : bits(toBrain(value)) {}
    operator float() const { return fromBrain(bits); }
};

template <typename T, typename Wide>
void fold(int reduction, void* into, const void* other, size_t count) {
    T* x = static_cast<T*>(into);
    const T* y = static_cast<const T*>(other);
    for (size_t i = 0; i < count; i++) {
        Wide a = x[i], b = y[i];
        switch (reduction) {
            case 1:
                x[i] = static_cast<T>(a * b);
                break;
            case 2:
                x[i] = static_cast<T>(std::max(a, b));
                break;
            case 3:
                x[i] = static_cast<T>(std::min(a, b));
                break;
            default:
                x[i] = static_cast<T>(a + b);
        }
    }
}

template <typename T, typename Wide>
void share(void* values, size_t count, int ranks) {
    T* x = static_cast<T*>(values);
    for (size_t i = 0; i < count; i++) {
        x[i] = static_cast<T>(static_cast<Wide>(x[i]) / static_cast<Wide>(ranks));
    }
}

struct Row {
    int type;
    const char* name;
    size_t bytes;
    void (*combine)(int, void*, const void*, size_t);
    void (*divide)(void*, size_t, int);
};

template <typename T, typename Wide = T>
constexpr Row row(int type, const char* name) {
    return {type, name, sizeof(T), fold<T, Wide>, share<T, Wide>};
}

// Sums of small integers wrap around; unsigned numbers do so without undefined behaviour.
const Row ROWS[] = {row<uint8_t, unsigned>(UINT8, "uint8"), row<int8_t, int>(INT8, "int8"),       row<int32_t, int64_t>(INT32, "int32"),
                    row<uint32_t>(UINT32, "uint32"),        row<int64_t>(INT64, "int64"),         row<uint64_t>(UINT64, "uint64"),
                    row<float>(FLOAT32, "float32"),         row<double>(FLOAT64, "float64"),      row<Brain, float>(BFLOAT16, "bfloat16")};

const Row* find(int type) {
    auto found = std::find_if(std::begin(ROWS), std::end(ROWS), [=](const Row& r) { return r.type == type; });
    return found == std::end(ROWS) ? nullptr : found;
}

}  // namespace

size_t elementBytes(int type) {
    const Row* found = find(type);
    return found == nullptr ? 0 : found->bytes;
}

const char* typeName(int type) {
    const Row* found = find(type);
    return found == nullptr ? "an unknown type" : found->name;
}

const char* reductionName(int reduction) {
    static const char* const names[] = {"sum", "product", "max", "min", "average"};
    return reduction >= 0 && reduction <= AVERAGE ? names[reduction] : nullptr;
}

void combine(int type, int reduction, void* into, const void* other, size_t count) {
    find(type)->combine(reduction, into, other, count);
}

void divide(int type, void* values, size_t count, int ranks) {
    find(type)->divide(values, count, ranks);
}

}  // namespace cudasim
