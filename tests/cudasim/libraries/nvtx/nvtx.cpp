// The stand-in for NVTX: tells the simulated device which ranges a thread opens and closes.
#include "cudasim.h"

namespace {

thread_local int depth = 0;

}  // namespace

extern "C" __attribute__((visibility("default"))) int nvtxRangePushA(const char* name) {
    cudasim_range_opened(name);
    return depth++;
}

extern "C" __attribute__((visibility("default"))) int nvtxRangePop() {
    if (depth == 0) {
        cudasim_violation("nvtxRangePop without a range");
        return -1;
    }
    cudasim_range_closed();
    return --depth;
}
