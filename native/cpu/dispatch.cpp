// Chooses the kernels of this CPU once, when they are first asked for.
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "kernels/kernels.h"

namespace brazier {

static const Kernels& choose() {
    const char* wanted = std::getenv("BRAZIER_CPU_ISA");
    bool any = wanted == nullptr || *wanted == '\0';
#ifdef __x86_64__
    bool hasAvx2 = __builtin_cpu_supports("x86-64-v3");
    bool hasAvx512 = __builtin_cpu_supports("x86-64-v4");
    if (hasAvx512 && (any || std::strcmp(wanted, "avx512") == 0)) {
        return avx512::table;
    }
    if (hasAvx2 && (any || std::strcmp(wanted, "avx2") == 0)) {
        return avx2::table;
    }
#endif
    if (any || std::strcmp(wanted, "portable") == 0) {
        return portable::table;
    }
    throw std::runtime_error(std::string("BRAZIER_CPU_ISA=") + wanted
        + ": this CPU offers no such instruction set: unset it, or choose portable, avx2 or avx512");
}

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

}  // namespace brazier
