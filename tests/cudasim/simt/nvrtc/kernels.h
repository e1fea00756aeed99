// What the stand-in for a GPU's compiler does to texts between the runs of g++.
#pragma once

#include <string>

namespace cudasim {

// The source that makes the kernels of a preprocessed source entries of the module's table.
std::string kernel_table(const std::string& preprocessed, bool checked);

// Moves the shared variables of an assembly listing into a section of their own, with red zones between them.
std::string with_shared_section(const std::string& assembly);

}  // namespace cudasim
