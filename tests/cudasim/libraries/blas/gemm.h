#pragma once

#include <cstddef>

namespace cudasim {

// An operand as it lies in memory: element (row, column) of op(X) is base[row * rowStep + column * columnStep].
struct Operand {
    const void* base;
    int type;
    size_t rowStep, columnStep;
    // Inputs are rounded to the 10 bits that tensor cores keep of a float.
    bool tf32;
};

// out [m, n] column-major without gaps = a [m, k] * b [k, n], summed in float.
void multiply(const Operand& a, const Operand& b, size_t m, size_t n, size_t k, float* out);

}  // namespace cudasim
