// libnvrtc.so.13 of the simulated CUDA: the functions of NVRTC, with g++ for a compiler.
#include <dlfcn.h>

#include <cstring>
#include <memory>
#include <stdexcept>

#include "compile.h"

namespace {

using cudasim::Compiled;
using cudasim::SourceFile;

// nvrtcResult.
enum Result {
    kSuccess = 0,
    kInvalidInput = 3,
    kInvalidProgram = 4,
    kInvalidOption = 5,
    kCompilation = 6,
    kInternal = 11,
};

struct Program {
    SourceFile source;
    std::vector<SourceFile> headers;
    Compiled compiled{false, "", ""};
};

const int kArchitectures[] = {80, 86, 89, 90, 100};

// Options that say what a GPU's code is like, and nothing to g++.
bool is_ignored(const std::string& option) {
    for (const char* prefix : {"--gpu-architecture", "-arch", "--std=c++17", "-std=c++17", "--ptxas-options", "--use_fast_math",
                               "-use_fast_math", "--fmad", "--extra-device-vectorization", "--generate-line-info", "-lineinfo",
                               "--maxrregcount", "--device-debug", "-default-device", "--split-compile"}) {
        if (option.rfind(prefix, 0) == 0) {
            return true;
        }
    }
    return false;
}

// The error that a test planted for a call, or 0: libcuda's stand-in counts calls, where it is loaded.
int planted(const char* function) {
    void* device = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
    if (device == nullptr) {
        return 0;
    }
    auto* fault = reinterpret_cast<int (*)(const char*)>(dlsym(device, "cudasim_fault"));
    int error = fault == nullptr ? 0 : fault(function);
    dlclose(device);
    return error;
}

Result give(const std::string& text, char* to) {
    if (to == nullptr) {
        return kInvalidInput;
    }
    memcpy(to, text.data(), text.size());
    return kSuccess;
}

}  // namespace

#define EXPORTED extern "C" __attribute__((visibility("default")))

EXPORTED int nvrtcVersion(int* major, int* minor) {
    *major = 13;
    *minor = 1;
    return kSuccess;
}

EXPORTED int nvrtcGetNumSupportedArchs(int* count) {
    *count = static_cast<int>(std::size(kArchitectures));
    return kSuccess;
}

EXPORTED int nvrtcGetSupportedArchs(int* architectures) {
    memcpy(architectures, kArchitectures, sizeof(kArchitectures));
    return kSuccess;
}

EXPORTED const char* nvrtcGetErrorString(int result) {
    switch (result) {
        case kSuccess:
            return "NVRTC_SUCCESS";
        case kInvalidInput:
            return "NVRTC_ERROR_INVALID_INPUT";
        case kInvalidProgram:
            return "NVRTC_ERROR_INVALID_PROGRAM";
        case kInvalidOption:
            return "NVRTC_ERROR_INVALID_OPTION";
        case kCompilation:
            return "NVRTC_ERROR_COMPILATION";
        default:
            return "NVRTC_ERROR_INTERNAL_ERROR";
    }
}

EXPORTED int nvrtcCreateProgram(Program** program, const char* source, const char* name, int header_count,
                                const char* const* headers, const char* const* names) {
    if (program == nullptr || source == nullptr || header_count < 0) {
        return kInvalidInput;
    }
    auto made = std::make_unique<Program>();
    made->source = {name == nullptr ? "default_program" : name, source};
    for (int x = 0; x < header_count; x++) {
        made->headers.push_back({names[x], headers[x]});
    }
    *program = made.release();
    return kSuccess;
}

EXPORTED int nvrtcDestroyProgram(Program** program) {
    if (program == nullptr || *program == nullptr) {
        return kInvalidProgram;
    }
    delete *program;
    *program = nullptr;
    return kSuccess;
}

EXPORTED int nvrtcCompileProgram(Program* program, int option_count, const char* const* options) {
    if (program == nullptr) {
        return kInvalidProgram;
    }
    if (int error = planted("nvrtcCompileProgram")) {
        program->compiled = {false, "a planted error", ""};
        return error;
    }
    std::vector<std::string> definitions;
    for (int x = 0; x < option_count; x++) {
        std::string option = options[x];
        if (option.rfind("-D", 0) == 0) {
            definitions.push_back(option);
        } else if (!is_ignored(option)) {
            program->compiled.log = "the simulated NVRTC does not know the option " + option;
            return kInvalidOption;
        }
    }
    try {
        program->compiled = cudasim::compile(program->source, program->headers, definitions);
    } catch (const std::exception& e) {
        program->compiled = {false, e.what(), ""};
        return kInternal;
    }
    return program->compiled.succeeded ? kSuccess : kCompilation;
}

EXPORTED int nvrtcGetCUBINSize(Program* program, size_t* bytes) {
    if (program == nullptr || !program->compiled.succeeded) {
        return kInvalidProgram;
    }
    *bytes = program->compiled.code.size();
    return kSuccess;
}

EXPORTED int nvrtcGetCUBIN(Program* program, char* code) {
    return program == nullptr || !program->compiled.succeeded ? kInvalidProgram : give(program->compiled.code, code);
}

EXPORTED int nvrtcGetProgramLogSize(Program* program, size_t* bytes) {
    if (program == nullptr) {
        return kInvalidProgram;
    }
    *bytes = program->compiled.log.size() + 1;
    return kSuccess;
}

EXPORTED int nvrtcGetProgramLog(Program* program, char* log) {
    return program == nullptr ? kInvalidProgram : give(program->compiled.log + '\0', log);
}

// What a simulated GPU has no use for: code of other kinds, names of templates, precompiled headers.
#define UNSUPPORTED(name) \
    EXPORTED int name() { return kInvalidInput; }

UNSUPPORTED(nvrtcGetPTXSize)
UNSUPPORTED(nvrtcGetPTX)
UNSUPPORTED(nvrtcGetLTOIRSize)
UNSUPPORTED(nvrtcGetLTOIR)
UNSUPPORTED(nvrtcGetOptiXIRSize)
UNSUPPORTED(nvrtcGetOptiXIR)
UNSUPPORTED(nvrtcAddNameExpression)
UNSUPPORTED(nvrtcGetLoweredName)
UNSUPPORTED(nvrtcGetPCHHeapSize)
UNSUPPORTED(nvrtcSetPCHHeapSize)
UNSUPPORTED(nvrtcGetPCHCreateStatus)
UNSUPPORTED(nvrtcGetPCHHeapSizeRequired)
UNSUPPORTED(nvrtcSetFlowCallback)
