// y[M,N] = act(op(x) op(w) + bias + addend) by oneDNN or by our own packing kernel, whichever is faster for the shape.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

namespace brazier {

struct MatmulShape {
    int64_t m, n, k;
    bool transposeX, transposeW, bias, addend, gelu;
};

class Matmul {
public:
    // Plans for the calling thread's team. Throws std::runtime_error when only a slow kernel is on offer.
    static std::unique_ptr<Matmul> create(const MatmulShape& shape);

    virtual ~Matmul() = default;
    virtual size_t scratchBytes() const = 0;
    virtual std::string implementation() const = 0;

    // addend may be y itself.
    virtual void run(const float* x, const float* w, const float* bias, const float* addend, float* y, void* scratch) = 0;
};

}  // namespace brazier
