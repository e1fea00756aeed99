// Large blocks of zeroed memory on huge pages.
#pragma once

#include <cstddef>

namespace brazier {

// Aligned to 2 MiB; nullptr when the system grants none.
void* allocateHuge(size_t bytes);

void freeHuge(void* address, size_t bytes);

}  // namespace brazier
