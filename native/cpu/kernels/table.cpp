#include "kernels.h"

#define TEXT(x) #x
#define NAME(x) TEXT(x)

namespace brazier {
namespace BRAZIER_ISA {

const Kernels table = {
    NAME(BRAZIER_ISA),
#define K(type, name, parameters) &name,
    BRAZIER_KERNELS(K)
#undef K
};

}  // namespace BRAZIER_ISA
}  // namespace brazier
