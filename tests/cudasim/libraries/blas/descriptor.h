// Descriptors of cuBLASLt: a kind and its attributes, each a number of at most 8 bytes.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>

namespace cudasim {

// Values of cublasStatus_t.
enum Status : int {
    SUCCESS = 0,
    NOT_INITIALIZED = 1,
    ALLOC_FAILED = 3,
    INVALID_VALUE = 7,
    ARCH_MISMATCH = 8,
    EXECUTION_FAILED = 13,
    INTERNAL_ERROR = 14,
    NOT_SUPPORTED = 15
};

enum class Kind { MATMUL, LAYOUT, PREFERENCE };

// Values of cublasLtMatmulDescAttributes_t.
enum MatmulAttribute : int {
    COMPUTE_TYPE = 0,
    SCALE_TYPE = 1,
    POINTER_MODE = 2,
    TRANS_A = 3,
    TRANS_B = 4,
    TRANS_C = 5,
    FILL_MODE = 6,
    EPILOGUE = 7,
    BIAS_POINTER = 8,
    BIAS_BATCH_STRIDE = 10,
    AUX_POINTER = 11,
    AUX_LD = 12,
    AUX_BATCH_STRIDE = 13,
    A_SCALE = 17,
    B_SCALE = 18,
    C_SCALE = 19,
    D_SCALE = 20,
    AMAX_D = 21,
    AUX_TYPE = 22,
    AUX_SCALE = 23,
    AUX_AMAX = 24,
    BIAS_TYPE = 26
};

// Values of cublasLtMatrixLayoutAttribute_t.
enum LayoutAttribute : int { TYPE = 0, ORDER = 1, ROWS = 2, COLS = 3, LD = 4, BATCH_COUNT = 5, BATCH_OFFSET = 6, BATCH_MODE = 8 };

// Values of cublasLtMatmulPreferenceAttributes_t; alignments of B, C and D follow that of A.
enum PreferenceAttribute : int { MAX_WORKSPACE = 1, ALIGNMENT_A = 5 };

struct Descriptor {
    const Kind kind;
    std::map<int, int64_t> values;

    int64_t operator[](int attribute) const { return values.at(attribute); }
    void* pointer(int attribute) const { return reinterpret_cast<void*>(values.at(attribute)); }
};

Descriptor* createDescriptor(Kind kind);

// A destroyed or foreign descriptor gives null, and a violation names the call.
Descriptor* findDescriptor(Kind kind, const void* address, const char* call);

Status destroyDescriptor(Kind kind, void* address, const char* call);
Status setAttribute(Kind kind, void* address, int attribute, const void* value, size_t bytes, const char* call);
Status getAttribute(Kind kind, const void* address, int attribute, void* value, size_t bytes, size_t* written, const char* call);

}  // namespace cudasim
