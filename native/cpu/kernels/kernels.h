// The kernels that are compiled once per instruction set. One list gives the declarations, the table of pointers and
// its three instances. Numbers are f32 and row-major; an absent operand is nullptr.
#pragma once

#include <cstdint>

#define BRAZIER_KERNELS(K)                                                                                   \
    K(double, fmaFlops, (double seconds))

namespace brazier {

struct Kernels {
    const char* isa;
#define K(type, name, parameters) type(*name) parameters;
    BRAZIER_KERNELS(K)
#undef K
};

// The kernels of the best instruction set of this CPU, or of the one named by BRAZIER_CPU_ISA.
const Kernels& kernels();

namespace portable {
extern const Kernels table;
}
#ifdef __x86_64__
namespace avx2 {
extern const Kernels table;
}
namespace avx512 {
extern const Kernels table;
}
#endif

#ifdef BRAZIER_ISA
namespace BRAZIER_ISA {
#define K(type, name, parameters) type name parameters;
BRAZIER_KERNELS(K)
#undef K
}  // namespace BRAZIER_ISA
#endif

}  // namespace brazier
