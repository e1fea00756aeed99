// A product as descriptors state it, checked against what cuBLASLt documents as supported on compute capability 9.0.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>

#include "../work.h"
#include "descriptor.h"

namespace cudasim {

// Bits of cublasLtEpilogue_t.
enum EpilogueBit : unsigned {
    RELU_BIT = 2,
    BIAS_BIT = 4,
    BGRAD_BIT = 16,
    GELU_BIT = 32,
    DGELU_BIT = 64,
    AUX_BIT = 128,
    BGRADA_BIT = 256,
    BGRADB_BIT = 512
};

// A matrix as it lies in memory, column-major.
struct Matrix {
    int type;
    size_t rows, cols, ld, batches, stride;

    size_t offset(size_t batch, size_t row, size_t col) const { return batch * stride + col * ld + row; }
    void touch(Ranges& ranges, const void* base, bool write) const;
};

struct Problem {
    Matrix a, b, c, d;
    bool transposeA, transposeB;
    bool tf32, deviceScalars;
    size_t m, n, k;
    unsigned epilogue;
    // Vectors and scalars on the device; null where there are none.
    void *bias, *aux;
    float *scaleA, *scaleB, *scaleC, *scaleD, *amaxD, *scaleAux, *amaxAux;
    int biasType;
    size_t biasStride;
    Matrix auxMatrix;

    bool has(unsigned bits) const { return (epilogue & bits) == bits; }
    bool usesBias() const { return (epilogue & (BIAS_BIT | BGRAD_BIT | BGRADA_BIT | BGRADB_BIT)) != 0; }
    bool scaled() const { return scaleA != nullptr || scaleB != nullptr; }
    bool writesBias() const { return usesBias() && !has(BIAS_BIT); }
    bool readsAux() const { return has(DGELU_BIT); }
    size_t biasLength() const { return has(BGRADB_BIT) ? n : m; }
    // Bytes that a kernel which splits k needs to add its parts.
    size_t splitBytes() const;
};

// The status, and in `why` the reason when it is none of success.
Status describe(const Descriptor& matmul, const Descriptor& a, const Descriptor& b, const Descriptor& c, const Descriptor& d,
                Problem& problem, std::string& why);

// D = epilogue(alpha * scaleA * scaleB * op(A) * op(B) + beta * scaleC * C), everything on the CPU.
void compute(const Problem& p, float alpha, float beta, const void* a, const void* b, const void* c, void* d);

}  // namespace cudasim
