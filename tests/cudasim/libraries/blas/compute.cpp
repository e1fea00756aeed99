#include <algorithm>
#include <cmath>
#include <vector>

#include "gemm.h"
#include "../numbers.h"
#include "problem.h"

namespace cudasim {

namespace {

// The tanh form, gelu(x) = x / 2 (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), which cuBLASLt computes.
constexpr float ROOT = 0.7978845608f, CUBE = 0.044715f;

float gelu(float x) {
    return 0.5f * x * (1.0f + std::tanh(ROOT * (x + CUBE * x * x * x)));
}

float geluGradient(float x) {
    float t = std::tanh(ROOT * (x + CUBE * x * x * x));
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * ROOT * (1.0f + 3.0f * CUBE * x * x);
}

float scalar(const float* pointer) {
    return pointer == nullptr ? 1.0f : *pointer;
}

const void* at(const void* base, int type, size_t index) {
    return static_cast<const char*>(base) + index * bytesOf(type);
}

Operand operand(const Matrix& x, const void* base, size_t batch, bool transpose, bool tf32) {
    return {at(base, x.type, batch * x.stride), x.type, transpose ? x.ld : 1, transpose ? 1 : x.ld, tf32};
}

// The sum over k of every row of op(A), or of every column of op(B): the gradient of a bias.
void sumOverDepth(const Problem& p, const Operand& x, size_t step, size_t depthStep, size_t batch) {
    for (size_t i = 0; i < p.biasLength(); i++) {
        float sum = 0;
        for (size_t d = 0; d < p.k; d++) {
            sum += loadFloat(x.type, x.base, i * step + d * depthStep);
        }
        storeFloat(p.biasType, p.bias, batch * p.biasStride + i, sum);
    }
}

struct Largest {
    float d = 0, aux = 0;
};

// What follows the sum for one element; x is alpha * A * B + beta * C already.
float finish(const Problem& p, float x, size_t batch, size_t row, size_t col, Largest& largest) {
    if (p.has(BIAS_BIT)) {
        x += loadFloat(p.biasType, p.bias, batch * p.biasStride + row);
    }
    size_t place = p.auxMatrix.offset(batch, row, col);
    if (p.readsAux()) {
        return x * geluGradient(loadFloat(p.auxMatrix.type, p.aux, place));
    }
    if (p.has(AUX_BIT)) {
        largest.aux = std::max(largest.aux, std::fabs(x));
        storeFloat(p.auxMatrix.type, p.aux, place, x * scalar(p.scaleAux));
    }
    if (p.has(GELU_BIT)) {
        return gelu(x);
    }
    return p.has(RELU_BIT) ? std::max(x, 0.0f) : x;
}

}  // namespace

void compute(const Problem& p, float alpha, float beta, const void* a, const void* b, const void* c, void* d) {
    std::vector<float> sums(p.m * p.n), rows(p.m);
    float scale = alpha * scalar(p.scaleA) * scalar(p.scaleB), scaleC = beta * scalar(p.scaleC), scaleD = scalar(p.scaleD);
    Largest largest;
    for (size_t batch = 0; batch < p.d.batches; batch++) {
        Operand left = operand(p.a, a, batch, p.transposeA, p.tf32), right = operand(p.b, b, batch, p.transposeB, p.tf32);
        multiply(left, right, p.m, p.n, p.k, sums.data());
        std::fill(rows.begin(), rows.end(), 0.0f);
        for (size_t col = 0; col < p.n; col++) {
            for (size_t row = 0; row < p.m; row++) {
                float x = scale * sums[col * p.m + row];
                if (scaleC != 0) {
                    x += scaleC * loadFloat(p.c.type, c, p.c.offset(batch, row, col));
                }
                x = finish(p, x, batch, row, col, largest);
                rows[row] += x;
                largest.d = std::max(largest.d, std::fabs(x));
                storeFloat(p.d.type, d, p.d.offset(batch, row, col), x * scaleD);
            }
        }
        if (p.has(BGRADA_BIT)) {
            sumOverDepth(p, left, left.rowStep, left.columnStep, batch);
        } else if (p.has(BGRADB_BIT)) {
            sumOverDepth(p, right, right.columnStep, right.rowStep, batch);
        } else if (p.has(BGRAD_BIT)) {
            for (size_t row = 0; row < p.m; row++) {
                storeFloat(p.biasType, p.bias, batch * p.biasStride + row, rows[row]);
            }
        }
    }
    if (p.amaxD != nullptr) {
        *p.amaxD = largest.d;
    }
    if (p.amaxAux != nullptr) {
        *p.amaxAux = largest.aux;
    }
}

}  // namespace cudasim
