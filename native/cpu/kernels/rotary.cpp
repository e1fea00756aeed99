// Rotation of heads by their position (arXiv:2104.09864), in the half-split convention: element i pairs with i + k/2.
#include "kernels.h"
#include "parallel.h"

namespace brazier {
namespace BRAZIER_ISA {

typedef double VecDouble __attribute__((vector_size(LANES * 8)));
typedef int64_t VecWide __attribute__((vector_size(LANES * 8)));

// Cosine and sine of position * quarterTurns [LANES] quarter turns. The turns are split in double into a whole number,
// which picks the quadrant, and a rest of at most half a quarter: no angle is too large for the polynomials (Cephes'
// sinf and cosf on [-pi/4, pi/4]) that follow in single precision.
INLINE void angles(double position, const double* quarterTurns, Vec& cosine, Vec& sine) {
    VecDouble turns;
    std::memcpy(&turns, quarterTurns, sizeof turns);
    turns *= position;
    const VecDouble magic = VecDouble{} + 6755399441055744.0;
    VecDouble shifted = turns + magic;
    VecInt quadrant = __builtin_convertvector((VecWide)shifted & 3, VecInt);
    Vec a = __builtin_convertvector(turns - (shifted - magic), Vec) * 1.57079632679f;
    Vec z = a * a;
    Vec s = ((z * -1.9515295891e-4f + 8.3321608736e-3f) * z - 1.6666654611e-1f) * z * a + a;
    Vec c = ((z * 2.443315711809948e-5f - 1.388731625493765e-3f) * z + 4.166664568298827e-2f) * z * z - 0.5f * z + 1.f;
    VecInt odd = (quadrant & 1) != 0;
    Vec mixedCosine = odd ? s : c, mixedSine = odd ? c : s;
    cosine = ((quadrant + 1) & 2) != 0 ? -mixedCosine : mixedCosine;
    sine = (quadrant & 2) != 0 ? -mixedSine : mixedSine;
}

// Rotates the first `heads` heads of each row, backwards when direction is -1, and keeps what follows them.
// quarterTurns holds the frequency of each pair, padded to whole vectors; y may be x.
void rotary(const float* x, const int32_t* positions, const double* quarterTurns, float* y, int64_t rows, int64_t heads,
    int64_t width, int64_t rowWidth, float direction) {
    int64_t half = width / 2;
    parallelFor(rows, 2 * rows * rowWidth, [=](int64_t row) __attribute__((always_inline)) {
        const float* in = x + row * rowWidth;
        float* out = y + row * rowWidth;
        auto rotate = [=](int64_t pair, int64_t n, Vec c, Vec s) __attribute__((always_inline)) {
            for (int64_t head = 0; head < heads; head++) {
                const float* from = in + head * width + pair;
                float* to = out + head * width + pair;
                Vec a = loadUpTo(from, n), b = loadUpTo(from + half, n);
                storeUpTo(to, a * c - b * s, n);
                storeUpTo(to + half, b * c + a * s, n);
            }
        };
        for (int64_t pair = 0; pair < half; pair += LANES) {
            Vec c, s;
            angles(positions[row], quarterTurns + pair, c, s);
            s *= direction;
            if (half - pair >= LANES) {
                rotate(pair, LANES, c, s);
            } else {
                rotate(pair, half - pair, c, s);
            }
        }
        if (in != out) {
            int64_t rotated = heads * width;
            std::memcpy(out + rotated, in + rotated, (rowWidth - rotated) * sizeof(float));
        }
    });
}

}  // namespace BRAZIER_ISA
}  // namespace brazier
