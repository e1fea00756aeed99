#include "problem.h"

#include <algorithm>

#include "../numbers.h"

namespace cudasim {

void Matrix::touch(Ranges& ranges, const void* base, bool write) const {
    size_t element = bytesOf(type);
    for (size_t batch = 0; batch < (stride == 0 ? 1 : batches); batch++) {
        for (size_t col = 0; col < cols; col++) {
            const char* start = static_cast<const char*>(base) + offset(batch, 0, col) * element;
            write ? ranges.write(start, rows * element) : ranges.read(start, rows * element);
        }
    }
}

size_t Problem::splitBytes() const {
    return k >= 4 * std::max(m, n) ? 2 * m * n * d.batches * sizeof(float) : 0;
}

namespace {

struct Refusal {
    Status status;
    std::string why;
};

void require(bool holds, Status status, const std::string& why) {
    if (!holds) {
        throw Refusal{status, why};
    }
}

Matrix matrixOf(const Descriptor& layout, const char* name) {
    std::string who = std::string(name) + ": ";
    require(layout[ORDER] == 0, NOT_SUPPORTED, who + "only column-major order is simulated");
    require(layout[BATCH_MODE] == 0, NOT_SUPPORTED, who + "only strided batches are simulated");
    require(bytesOf(static_cast<int>(layout[TYPE])) != 0, NOT_SUPPORTED, who + "data type " + std::to_string(layout[TYPE]));
    require(layout[ROWS] > 0 && layout[COLS] > 0 && layout[BATCH_COUNT] > 0, INVALID_VALUE, who + "an empty matrix");
    require(layout[LD] >= layout[ROWS], INVALID_VALUE, who + "the leading dimension is smaller than the rows");
    require(layout[BATCH_OFFSET] >= 0, NOT_SUPPORTED, who + "a negative stride between batches");
    return {static_cast<int>(layout[TYPE]),       static_cast<size_t>(layout[ROWS]),        static_cast<size_t>(layout[COLS]),
            static_cast<size_t>(layout[LD]),      static_cast<size_t>(layout[BATCH_COUNT]), static_cast<size_t>(layout[BATCH_OFFSET])};
}

bool transposed(const Descriptor& matmul, int attribute) {
    require(matmul[attribute] >= 0 && matmul[attribute] <= 2, INVALID_VALUE, "an unknown transposition");
    return matmul[attribute] != 0;
}

void checkShapes(Problem& p) {
    size_t depthOfB = p.transposeB ? p.b.cols : p.b.rows;
    p.m = p.transposeA ? p.a.cols : p.a.rows;
    p.k = p.transposeA ? p.a.rows : p.a.cols;
    p.n = p.transposeB ? p.b.rows : p.b.cols;
    require(depthOfB == p.k, INVALID_VALUE, "op(A) has other columns than op(B) has rows");
    require(p.d.rows == p.m && p.d.cols == p.n, INVALID_VALUE, "D is not [rows of op(A), columns of op(B)]");
    require(p.c.rows == p.m && p.c.cols == p.n, INVALID_VALUE, "C has another shape than D");
    require(p.a.batches == p.d.batches && p.b.batches == p.d.batches && p.c.batches == p.d.batches, INVALID_VALUE,
            "the counts of batches differ");
    require(p.d.batches == 1 || p.d.stride >= p.d.ld * (p.d.cols - 1) + p.d.rows || p.d.stride < p.d.ld, INVALID_VALUE,
            "batches of D overlap");
    require(p.d.batches == 1 || p.d.stride != 0, INVALID_VALUE, "batches of D overlap");
}

// The table of types that cublasLtMatmul() documents, as far as types are simulated.
void checkTypes(const Problem& p) {
    int a = p.a.type, b = p.b.type, c = p.c.type, d = p.d.type;
    if (isFp8(a) || isFp8(b)) {
        require(isFp8(a) && isFp8(b) && !(a == E5M2 && b == E5M2), NOT_SUPPORTED, "of FP8 products one operand at least is E4M3");
        require(p.transposeA && !p.transposeB, NOT_SUPPORTED, "FP8 products want A transposed and B not");
        if (isFp8(d)) {
            require(c == BF16 || c == F16, NOT_SUPPORTED, "an FP8 result wants C in bf16 or f16");
            require(d == E4M3 || a == E5M2 || b == E5M2, NOT_SUPPORTED, "a result in E5M2 wants an operand in E5M2");
        } else {
            require(c == d, NOT_SUPPORTED, "C and D differ in type");
        }
        require(p.k % 16 == 0 && p.m % 16 == 0 && p.a.ld % 16 == 0 && p.b.ld % 16 == 0, NOT_SUPPORTED,
                "FP8 products want m, k and the leading dimensions in multiples of 16 bytes");
        require(p.d.ld * bytesOf(d) % 16 == 0 && p.c.ld * bytesOf(c) % 16 == 0, NOT_SUPPORTED,
                "FP8 products want columns of C and D at multiples of 16 bytes");
        return;
    }
    require(a == b && c == d && (d == a || d == F32), NOT_SUPPORTED, "this combination of types");
}

void checkEpilogue(const Descriptor& matmul, Problem& p) {
    bool fp8 = isFp8(p.a.type);
    switch (p.epilogue) {
        case 1:
        case RELU_BIT:
        case BIAS_BIT:
        case RELU_BIT | BIAS_BIT:
        case GELU_BIT:
        case GELU_BIT | BIAS_BIT:
        case GELU_BIT | AUX_BIT:
        case GELU_BIT | AUX_BIT | BIAS_BIT:
            break;
        case DGELU_BIT | AUX_BIT:
        case DGELU_BIT | AUX_BIT | BGRAD_BIT:
        case BGRADA_BIT:
        case BGRADB_BIT:
            require(!fp8, NOT_SUPPORTED, "FP8 products have no epilogue that computes a gradient");
            break;
        default:
            throw Refusal{NOT_SUPPORTED, "epilogue " + std::to_string(p.epilogue)};
    }
    if (p.usesBias()) {
        int usual = fp8 ? (p.c.type == F16 ? F16 : BF16) : p.d.type;
        p.biasType = matmul[BIAS_TYPE] < 0 ? (isFp8(p.d.type) || fp8 ? usual : p.d.type) : static_cast<int>(matmul[BIAS_TYPE]);
        require(p.biasType == usual, NOT_SUPPORTED, "the bias has another type than the table of types says");
        require(p.d.batches == 1 || !p.writesBias() || p.biasStride >= p.biasLength(), NOT_SUPPORTED,
                "batches would write one gradient of the bias");
    }
    if (p.has(AUX_BIT)) {
        p.auxMatrix.type = matmul[AUX_TYPE] < 0 ? p.d.type : static_cast<int>(matmul[AUX_TYPE]);
        bool f16OfFp8 = p.d.type == E4M3 && p.auxMatrix.type == F16;
        require(p.auxMatrix.type == p.d.type || f16OfFp8, NOT_SUPPORTED, "the auxiliary matrix has another type than D");
        require(p.auxMatrix.ld >= p.m, INVALID_VALUE, "the leading dimension of the auxiliary matrix is smaller than the rows of D");
        require(p.auxMatrix.ld % 8 == 0, NOT_SUPPORTED, "the leading dimension of the auxiliary matrix is no multiple of 8");
        require(p.d.batches == 1 || p.auxMatrix.stride != 0, INVALID_VALUE, "batches of the auxiliary matrix overlap");
    }
}

void checkScales(const Problem& p) {
    require(isFp8(p.a.type) || (p.scaleA == nullptr && p.scaleB == nullptr), NOT_SUPPORTED, "scales of A and B are for FP8");
    require(p.scaleC == nullptr || isFp8(p.c.type), NOT_SUPPORTED, "the scale of C is for FP8");
    require(isFp8(p.d.type) || (p.scaleD == nullptr && p.amaxD == nullptr), NOT_SUPPORTED, "scale and amax of D are for FP8");
    bool fp8Aux = p.has(AUX_BIT) && isFp8(p.auxMatrix.type);
    require(fp8Aux || (p.scaleAux == nullptr && p.amaxAux == nullptr), NOT_SUPPORTED,
            "scale and amax of the auxiliary matrix are for FP8");
}

}  // namespace

Status describe(const Descriptor& matmul, const Descriptor& a, const Descriptor& b, const Descriptor& c, const Descriptor& d,
                Problem& p, std::string& why) {
    try {
        p.a = matrixOf(a, "A");
        p.b = matrixOf(b, "B");
        p.c = matrixOf(c, "C");
        p.d = matrixOf(d, "D");
        p.transposeA = transposed(matmul, TRANS_A);
        p.transposeB = transposed(matmul, TRANS_B);
        require(matmul[TRANS_C] == 0 && matmul[FILL_MODE] == 2, NOT_SUPPORTED, "a transposed C or a triangular result");
        require(matmul[COMPUTE_TYPE] == 68 || (matmul[COMPUTE_TYPE] == 77 && p.a.type == F32), NOT_SUPPORTED,
                "only COMPUTE_32F, and COMPUTE_32F_FAST_TF32 for f32, are simulated");
        require(matmul[SCALE_TYPE] == F32, NOT_SUPPORTED, "only scalars of type f32 are simulated");
        require(matmul[POINTER_MODE] == 0 || matmul[POINTER_MODE] == 1, NOT_SUPPORTED, "scalars that are vectors");
        p.tf32 = matmul[COMPUTE_TYPE] == 77;
        p.deviceScalars = matmul[POINTER_MODE] == 1;
        p.epilogue = static_cast<unsigned>(matmul[EPILOGUE]);
        p.bias = matmul.pointer(BIAS_POINTER);
        p.biasStride = static_cast<size_t>(matmul[BIAS_BATCH_STRIDE]);
        p.aux = matmul.pointer(AUX_POINTER);
        p.scaleA = static_cast<float*>(matmul.pointer(A_SCALE));
        p.scaleB = static_cast<float*>(matmul.pointer(B_SCALE));
        p.scaleC = static_cast<float*>(matmul.pointer(C_SCALE));
        p.scaleD = static_cast<float*>(matmul.pointer(D_SCALE));
        p.amaxD = static_cast<float*>(matmul.pointer(AMAX_D));
        p.scaleAux = static_cast<float*>(matmul.pointer(AUX_SCALE));
        p.amaxAux = static_cast<float*>(matmul.pointer(AUX_AMAX));
        checkShapes(p);
        checkTypes(p);
        p.auxMatrix = {p.d.type, p.m, p.n, static_cast<size_t>(matmul[AUX_LD]), p.d.batches, static_cast<size_t>(matmul[AUX_BATCH_STRIDE])};
        checkEpilogue(matmul, p);
        checkScales(p);
        return SUCCESS;
    } catch (const Refusal& refusal) {
        why = refusal.why;
        return refusal.status;
    }
}

}  // namespace cudasim
