// Compiles CUDA sources for the emulator with g++.
#pragma once

#include <string>
#include <vector>

namespace cudasim {

struct SourceFile {
    std::string name, text;
};

struct Compiled {
    bool succeeded;
    // What g++ said.
    std::string log;
    // A shared library in the manner of ../device/abi.h.
    std::string code;
};

// Definitions are options such as -DNAME=VALUE. Throws std::runtime_error where the machine fails, not the source.
Compiled compile(const SourceFile& source, const std::vector<SourceFile>& headers, const std::vector<std::string>& definitions);

}  // namespace cudasim
