#include "matmul.h"

#include <omp.h>

#include <oneapi/dnnl/dnnl.hpp>

#include <algorithm>
#include <cstring>
#include <optional>
#include <stdexcept>

#include "kernels/kernels.h"

namespace brazier {

using dnnl::memory;
using dims = memory::dims;

static dnnl::engine& cpuEngine() {
    static dnnl::engine engine = [] {
        // What holds for our kernels holds for oneDNN's: a test of one instruction set covers both.
        if (std::strcmp(kernels().isa, "avx2") == 0) {
            dnnl::set_max_cpu_isa(dnnl::cpu_isa::avx2);
        } else if (std::strcmp(kernels().isa, "portable") == 0) {
            dnnl::set_max_cpu_isa(dnnl::cpu_isa::sse41);
        }
        return dnnl::engine(dnnl::engine::kind::cpu, 0);
    }();
    return engine;
}

static dnnl::stream& stream() {
    thread_local dnnl::stream stream(cpuEngine());
    return stream;
}

static memory::desc matrix(int64_t rows, int64_t columns, bool transposed) {
    return memory::desc({rows, columns}, memory::data_type::f32, transposed ? dims{1, rows} : dims{columns, 1});
}

static size_t aligned(size_t bytes) {
    return (bytes + 63) / 64 * 64;
}

namespace {

enum class Addend { NONE, IN_PLACE, SEPARATE };

// One oneDNN primitive and the memory objects that its runs point at their operands.
class Product {
public:
    Product(const MatmulShape& s, Addend addend)
        : x(matrix(s.m, s.k, s.transposeX), cpuEngine(), DNNL_MEMORY_NONE),
          w(matrix(s.k, s.n, s.transposeW), cpuEngine(), DNNL_MEMORY_NONE),
          y(matrix(s.m, s.n, false), cpuEngine(), DNNL_MEMORY_NONE),
          other(matrix(s.m, s.n, false), cpuEngine(), DNNL_MEMORY_NONE),
          bias(matrix(1, s.n, false), cpuEngine(), DNNL_MEMORY_NONE) {
        dnnl::post_ops after;
        if (addend == Addend::IN_PLACE) {
            after.append_sum(1.f);
        } else if (addend == Addend::SEPARATE) {
            after.append_binary(dnnl::algorithm::binary_add, y.get_desc());
            arguments[DNNL_ARG_ATTR_MULTIPLE_POST_OP(0) | DNNL_ARG_SRC_1] = other;
        }
        dnnl::primitive_attr attributes;
        attributes.set_post_ops(after);
        attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
        dnnl::matmul::primitive_desc plan(cpuEngine(), x.get_desc(), w.get_desc(),
            s.bias ? bias.get_desc() : memory::desc(), y.get_desc(), attributes);
        name = plan.impl_info_str();
        if (name.find("ref") != std::string::npos) {
            throw std::runtime_error("oneDNN offers only its slow kernel " + name + " for " + std::to_string(s.m) + " x "
                + std::to_string(s.n) + " x " + std::to_string(s.k) + " on this CPU ("
                + kernels().isa + "): run on a CPU with AVX2, or report the shape");
        }
        primitive = dnnl::matmul(plan);
        scratch = memory(plan.scratchpad_desc(), cpuEngine(), DNNL_MEMORY_NONE);
        arguments[DNNL_ARG_SRC] = x;
        arguments[DNNL_ARG_WEIGHTS] = w;
        arguments[DNNL_ARG_DST] = y;
        arguments[DNNL_ARG_SCRATCHPAD] = scratch;
        if (s.bias) {
            arguments[DNNL_ARG_BIAS] = bias;
        }
    }

    size_t scratchBytes() const {
        return scratch.get_desc().get_size();
    }

    void run(const float* xData, const float* wData, const float* biasData, const float* addend, float* yData,
        void* scratchData) {
        x.set_data_handle(const_cast<float*>(xData));
        w.set_data_handle(const_cast<float*>(wData));
        y.set_data_handle(yData);
        other.set_data_handle(const_cast<float*>(addend));
        bias.set_data_handle(const_cast<float*>(biasData));
        scratch.set_data_handle(scratchData);
        primitive.execute(stream(), arguments);
    }

    std::string name;

private:
    memory x, w, y, other, bias, scratch;
    dnnl::matmul primitive;
    std::unordered_map<int, memory> arguments;
};

class OneDnnMatmul : public Matmul {
public:
    explicit OneDnnMatmul(const MatmulShape& s)
        : shape(s), first(s, s.addend ? Addend::IN_PLACE : Addend::NONE) {
        if (s.addend) {
            second.emplace(s, Addend::SEPARATE);
        }
    }

    size_t scratchBytes() const override {
        return aligned(std::max(first.scratchBytes(), second ? second->scratchBytes() : 0));
    }

    std::string implementation() const override {
        return first.name;
    }

    void run(const float* x, const float* w, const float* bias, const float* addend, float* y, void* scratch) override {
        Product& product = second && addend != y ? *second : first;
        product.run(x, w, bias, addend, y, scratch);
        if (shape.gelu) {
            // A pass of our own costs half of oneDNN's post-op.
            kernels().gelu(y, y, shape.m * shape.n);
        }
    }

private:
    MatmulShape shape;
    Product first;
    std::optional<Product> second;
};

// Our own kernel, which packs both operands.
class PackedMatmul : public Matmul {
public:
    explicit PackedMatmul(const MatmulShape& s)
        : gemm{s.m, s.n, s.k, s.transposeX, s.gelu, nullptr, nullptr, nullptr, nullptr, nullptr},
          numThreads(omp_get_max_threads()) {}

    size_t scratchBytes() const override {
        return sizeof(float) * kernels().gemmScratchFloats(gemm, numThreads);
    }

    std::string implementation() const override {
        return std::string("packed:") + kernels().isa;
    }

    void run(const float* x, const float* w, const float* bias, const float* addend, float* y, void* scratch) override {
        Gemm run = gemm;
        run.x = x, run.w = w, run.bias = bias, run.addend = addend, run.y = y;
        kernels().gemm(run, numThreads, static_cast<float*>(scratch));
    }

private:
    Gemm gemm;
    int64_t numThreads;
};

// By measurement on shapes of GPT-2: packing wins for weight gradients (x transposed), over long sums and where rows of w
// lie a multiple of 4 KiB apart (they fall into few cache sets); oneDNN wins elsewhere, and always when rows are few.
bool packingWins(const MatmulShape& s) {
    if (s.transposeW) {
        return false;
    }
    return s.transposeX || (s.m >= 192 && (s.gelu || s.n % 1024 == 0 || s.k >= 2048));
}

}  // namespace

std::unique_ptr<Matmul> Matmul::create(const MatmulShape& shape) {
    if (packingWins(shape)) {
        return std::make_unique<PackedMatmul>(shape);
    }
    return std::make_unique<OneDnnMatmul>(shape);
}

}  // namespace brazier
