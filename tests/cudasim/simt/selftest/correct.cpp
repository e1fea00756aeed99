// Kernels without bugs: their results against plain loops, and that nothing is said of them.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <random>

#include "harness.h"

namespace selftest {

namespace {

uint16_t to_bf16(float x) {
    uint32_t bits;
    memcpy(&bits, &x, 4);
    uint32_t below = bits & 0xffffu, kept = bits >> 16;
    return static_cast<uint16_t>(kept + (below > 0x8000u || (below == 0x8000u && (kept & 1u)) ? 1 : 0));
}

float from_bf16(uint16_t bits) {
    uint32_t wide = static_cast<uint32_t>(bits) << 16;
    float x;
    memcpy(&x, &wide, 4);
    return x;
}

class Values {
   public:
    float next() { return distribution_(generator_); }
    uint16_t next_bf16() { return to_bf16(next()); }

   private:
    std::mt19937 generator_{20250101};
    std::normal_distribution<float> distribution_{0.0f, 1.0f};
};

// The nearest of all codes, the even one of two; finite ones only.
float nearest_fp8(float x, int mantissa_bits, int bias, unsigned largest) {
    double best = 0.0, best_distance = 1e30;
    bool best_even = true;
    for (unsigned code = 0; code <= largest; code++) {
        int field = static_cast<int>(code >> mantissa_bits);
        double mantissa = static_cast<double>(code & ((1u << mantissa_bits) - 1)) / (1 << mantissa_bits);
        double value = field == 0 ? std::ldexp(mantissa, 1 - bias) : std::ldexp(1.0 + mantissa, field - bias);
        double distance = std::fabs(std::fabs(static_cast<double>(x)) - value);
        bool even = code % 2 == 0;
        if (distance < best_distance || (distance == best_distance && even && !best_even)) {
            best = value, best_distance = distance, best_even = even;
        }
    }
    return static_cast<float>(std::copysign(best, x));
}

void run_reductions(const cudasim::Module& module, Values& values) {
    constexpr int kRows = 3, kWidth = 333;
    Array<float> x(kRows * kWidth), sums(kRows);
    Array<uint16_t> half(kRows * kWidth), probabilities(kRows * kWidth);
    for (size_t i = 0; i < x.size(); i++) {
        half[i] = values.next_bf16();
        x[i] = from_bf16(half[i]);
    }
    check(launch(module, "block_sums", {kRows, 1, 1}, {96, 1, 1}, 0, x.data(), sums.data(), kWidth) == 0, "block_sums");
    check(launch(module, "softmax", {kRows, 1, 1}, {128, 1, 1}, kWidth * sizeof(float), half.data(), probabilities.data(), kWidth) == 0,
          "softmax");
    for (int row = 0; row < kRows; row++) {
        double sum = 0.0, exponentials = 0.0;
        for (int i = 0; i < kWidth; i++) {
            sum += x[row * kWidth + i];
            exponentials += std::exp(x[row * kWidth + i]);
        }
        near(sums[row], sum, 1e-4, "a sum");
        for (int i = 0; i < kWidth; i++) {
            double p = std::exp(x[row * kWidth + i]) / exponentials;
            near(from_bf16(probabilities[row * kWidth + i]), p, p * 0.004, "a probability");
        }
    }
}

void run_products(const cudasim::Module& module, Values& values) {
    Array<uint16_t> a(256), b(128), transposed(128);
    Array<float> by_hand(128), by_ldmatrix(128);
    for (size_t i = 0; i < a.size(); i++) {
        a[i] = values.next_bf16();
    }
    for (int k = 0; k < 16; k++) {
        for (int n = 0; n < 8; n++) {
            transposed[n * 16 + k] = b[k * 8 + n] = values.next_bf16();
        }
    }
    for (size_t i = 0; i < 128; i++) {
        by_ldmatrix[i] = static_cast<float>(i);
    }
    check(launch(module, "mma_by_hand", {1, 1, 1}, {32, 1, 1}, 0, a.data(), transposed.data(), by_hand.data()) == 0, "mma_by_hand");
    check(launch(module, "mma_by_ldmatrix", {1, 1, 1}, {32, 1, 1}, 0, a.data(), b.data(), by_ldmatrix.data()) == 0,
          "mma_by_ldmatrix");
    for (int m = 0; m < 16; m++) {
        for (int n = 0; n < 8; n++) {
            double sum = 0.0;
            for (int k = 0; k < 16; k++) {
                sum += static_cast<double>(from_bf16(a[m * 16 + k])) * from_bf16(b[k * 8 + n]);
            }
            near(by_hand[m * 8 + n], sum, 1e-5, "a product by hand");
            near(by_ldmatrix[m * 8 + n], sum + m * 8 + n, 3e-5, "a product by ldmatrix");
        }
    }
}

void run_lanes(const cudasim::Module& module) {
    Array<float> y(128);
    check(launch(module, "sub_warps", {1, 1, 1}, {32, 1, 1}, 0, y.data()) == 0, "sub_warps");
    for (int lane = 0; lane < 32; lane++) {
        // 0 + 1 + ... + 31 = 496; the last lane's neighbour below and each first of eight's neighbour above are themselves.
        float next = lane == 31 ? 31 : lane + 1, before = lane % 8 == 0 ? lane : lane - 1;
        near(y[lane], 496.0f + 1000.0f * next + 100000.0f * before + 0.5f, 0.5, "lane " + std::to_string(lane));
    }
    check(launch(module, "warp_exchange", {1, 1, 1}, {128, 1, 1}, 0, y.data()) == 0, "warp_exchange");
    for (int thread = 0; thread < 128; thread++) {
        near(y[thread], thread / 32 * 32 + 31 - thread % 32 + 2, 0.0, "warp_exchange");
    }
}

void run_the_rest(const cudasim::Module& module, Values& values) {
    Array<float> x(64), y(64);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = values.next();
    }
    check(launch(module, "early_exit", {1, 1, 1}, {64, 1, 1}, 0, x.data(), y.data(), 43) == 0, "early_exit");
    for (int i = 0; i < 43; i++) {
        near(y[i], x[42 - i], 0.0, "early_exit");
    }
    Array<int> digits(1000), counts(16, 5);
    std::vector<int> expected(16, 5);
    for (size_t i = 0; i < digits.size(); i++) {
        digits[i] = static_cast<int>(i * i % 16);
        expected[digits[i]] += 2;
    }
    check(launch(module, "histogram", {2, 1, 1}, {64, 1, 1}, 0, digits.data(), counts.data(), 1000) == 0, "histogram");
    for (int i = 0; i < 16; i++) {
        near(counts[i], expected[i], 0.0, "histogram");
    }
    Array<float> partial(4), total(1);
    Array<unsigned> arrived(1);
    check(launch(module, "last_block_adds", {4, 1, 1}, {64, 1, 1}, 0, partial.data(), arrived.data(), total.data()) == 0,
          "last_block_adds");
    near(total[0], 255.0 * 256.0 / 2.0, 0.0, "last_block_adds");
    Array<uint16_t> halves(66, to_bf16(3.0f));
    check(launch(module, "halves_of_words", {2, 1, 1}, {33, 1, 1}, 0, halves.data()) == 0, "halves_of_words");
    for (size_t i = 0; i < halves.size(); i++) {
        near(from_bf16(halves[i]), i == 0 ? 3.0 : 6.0, 0.0, "halves_of_words");
    }
    Array<float> grid(2 * 3 * 2 * 24);
    check(launch(module, "dimensions", {2, 3, 2}, {4, 3, 2}, 0, grid.data(), 24u, 2.0f) == 0, "dimensions");
    for (size_t i = 0; i < grid.size(); i++) {
        size_t thread = i % 24;
        near(grid[i], 2.0 * (std::pow(10.0, thread % 4) + static_cast<double>(thread / 4 % 3) + static_cast<double>(thread / 12) * 0.25),
             0.0, "dimensions");
    }
    check(module.kernel("add")->entry->max_threads == 256 && module.kernel("sub_warps")->entry->max_threads == 1024, "bounds");
    std::vector<size_t> offsets = module.kernel("add")->parameter_offsets();
    check(offsets == std::vector<size_t>({0, 8, 16, 24, 32}), "the offsets of add's parameters");
}

void run_narrow_numbers(const cudasim::Module& module, Values& values) {
    Array<float> x(1024), y(4096);
    for (size_t i = 0; i < x.size(); i++) {
        x[i] = values.next() * std::ldexp(1.0f, static_cast<int>(i % 40) - 22);
    }
    const float corners[] = {0.0f, -0.0f, 448.0f, 464.0f, 465.0f, -1e9f, 57344.0f, 61440.0f, 0.001953125f, 0.0009765625f, 17.0f, 19.0f};
    std::copy(std::begin(corners), std::end(corners), x.data());
    check(launch(module, "narrow_numbers", {1, 1, 1}, {1024, 1, 1}, 0, x.data(), y.data(), 1024) == 0, "narrow_numbers");
    for (size_t i = 0; i < x.size(); i++) {
        std::string which = " of " + std::to_string(x[i]);
        near(y[4 * i], from_bf16(to_bf16(x[i])), 0.0, "bf16" + which);
        near(y[4 * i + 1], nearest_fp8(x[i], 3, 7, 0x7e), 0.0, "e4m3" + which);
        near(y[4 * i + 2], nearest_fp8(x[i], 2, 15, 0x7b), 0.0, "e5m2" + which);
        near(y[4 * i + 3], x[i], 0.0, "the larger of NaN and" + which);
    }
}

// Elements a second of one kernel, the best of three.
void time(const cudasim::Module& module, const std::string& kernel, double elements, const std::function<int()>& launch) {
    double best = 1e30;
    for (int round = 0; round < 3; round++) {
        auto begin = std::chrono::steady_clock::now();
        check(launch() == 0, kernel);
        best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
    }
    printf("%s, %s: %.1f million elements a second\n", kernel.c_str(), module.checked() ? "checked" : "unchecked",
           elements / best / 1e6);
}

}  // namespace

void run_correct_kernels(const Folders& folders) {
    std::unique_ptr<cudasim::Module> module = build(folders.selftest + "/works.cu", folders);
    Values values;
    run_reductions(*module, values);
    run_products(*module, values);
    run_lanes(*module);
    run_the_rest(*module, values);
    run_narrow_numbers(*module, values);
    for (const std::string& text : violations()) {
        check(false, text);
    }
}

void run_timings(const Folders& folders) {
    std::unique_ptr<cudasim::Module> module = build(folders.selftest + "/works.cu", folders);
    constexpr size_t kCount = 1 << 20;
    constexpr int kWidth = 768;
    Array<float> a(kCount, 1.0f), b(kCount, 2.0f), y(kCount);
    Array<uint16_t> x(kCount, 0x3f80), p(kCount);
    long long count = kCount;
    time(*module, "add", kCount, [&] { return launch(*module, "add", {64, 1, 1}, {256, 1, 1}, 0, a.data(), b.data(), y.data(), count); });
    unsigned rows = kCount / kWidth;
    time(*module, "block_sums", rows * kWidth, [&] {
        return launch(*module, "block_sums", {rows, 1, 1}, {64, 1, 1}, 0, a.data(), y.data(), kWidth);
    });
    time(*module, "softmax", rows * kWidth, [&] {
        return launch(*module, "softmax", {rows, 1, 1}, {128, 1, 1}, kWidth * 4, x.data(), p.data(), kWidth);
    });
    time(*module, "mma_by_hand", 2048.0 * 4096, [&] {
        return launch(*module, "mma_by_hand", {4096, 1, 1}, {32, 1, 1}, 0, x.data(), x.data(), y.data());
    });
    time(*module, "sub_warps", 4096.0 * 32 * 18, [&] {
        return launch(*module, "sub_warps", {4096, 1, 1}, {32, 1, 1}, 0, y.data());
    });
}

}  // namespace selftest
