// Element types of NCCL and sums over ranks.
#pragma once

#include <cstddef>
#include <vector>

namespace cudasim {

// 0 for a type that is not simulated.
size_t elementBytes(int type);
const char* typeName(int type);
// Null for a reduction that is not simulated.
const char* reductionName(int reduction);

// into = into (reduction) other, element by element; every step is rounded to the element type, as a ring does.
void combine(int type, int reduction, void* into, const void* other, size_t count);
// What an average does at the end.
void divide(int type, void* values, size_t count, int ranks);

constexpr int AVERAGE = 4;

}  // namespace cudasim
