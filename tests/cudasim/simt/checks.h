// Whether the environment asks for instrumented kernels, CUDASIM_CHECK=full, or for fast ones, CUDASIM_CHECK=none.
#pragma once

#include <cstdlib>
#include <cstring>

namespace cudasim {

inline bool checks_wanted() {
    const char* check = getenv("CUDASIM_CHECK");
    return check == nullptr || strcmp(check, "none") != 0;
}

}  // namespace cudasim
