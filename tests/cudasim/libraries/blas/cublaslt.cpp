// Stand-in for libcublasLt.so.13: the functions that the product calls, with cuBLASLt's signatures and statuses.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <unordered_set>

#include "../work.h"
#include "descriptor.h"
#include "../numbers.h"
#include "problem.h"

using namespace cudasim;

namespace {

// The opaque 64 bytes of cublasLtMatmulAlgo_t.
struct Algorithm {
    uint64_t magic;
    uint64_t workspaceBytes;
    // What pointers to A, B, C and D have to be multiples of.
    uint32_t alignment[4];
    // Whether operands of eight bits had scales: the real library promises an algorithm to work as it was asked for, with them or without.
    uint64_t scaled;
    uint64_t rest[3];
};
static_assert(sizeof(Algorithm) == 64, "cublasLtMatmulAlgo_t has 64 bytes");

// cublasLtMatmulHeuristicResult_t.
struct Heuristic {
    Algorithm algorithm;
    size_t workspaceBytes;
    int state;
    float waves;
    int reserved[4];
};

constexpr uint64_t ALGORITHM = 0x6d697361647563;
constexpr size_t VECTOR_BYTES = 16;

struct Handle {
    int device;
};

std::mutex& lock() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
}

std::unordered_set<const void*>& handles() {
    static auto* set = new std::unordered_set<const void*>;
    return *set;
}

bool living(const void* handle) {
    std::lock_guard<std::mutex> guard(lock());
    return handles().count(handle) != 0;
}

// As the real library does: silent unless its log level asks for reasons.
Status refuse(Status status, const char* call, const std::string& why) {
    const char* level = getenv("CUBLASLT_LOG_LEVEL");
    if (level != nullptr && atoi(level) > 0) {
        fprintf(stderr, "[cublasLt][cudasim][%s] status %d: %s\n", call, status, why.c_str());
    }
    return status;
}

Status describeAt(const char* call, void* matmul, void* a, void* b, void* c, void* d, Problem& problem) {
    Descriptor* of[] = {findDescriptor(Kind::MATMUL, matmul, call), findDescriptor(Kind::LAYOUT, a, call),
                        findDescriptor(Kind::LAYOUT, b, call), findDescriptor(Kind::LAYOUT, c, call),
                        findDescriptor(Kind::LAYOUT, d, call)};
    if (std::find(std::begin(of), std::end(of), nullptr) != std::end(of)) {
        return refuse(INVALID_VALUE, call, "a descriptor is missing");
    }
    std::string why;
    Status status = describe(*of[0], *of[1], *of[2], *of[3], *of[4], problem, why);
    return status == SUCCESS ? SUCCESS : refuse(status, call, why);
}

Algorithm choose(size_t workspaceBytes, const uint32_t (&alignment)[4], bool scaled) {
    Algorithm made = {ALGORITHM, workspaceBytes, {}, scaled, {}};
    for (int i = 0; i < 4; i++) {
        made.alignment[i] = std::min<uint32_t>(alignment[i], VECTOR_BYTES);
    }
    return made;
}

bool aligned(const void* pointer, size_t step) {
    return reinterpret_cast<uintptr_t>(pointer) % step == 0;
}

// Whether something that is written overlaps something else that the product touches.
bool overlaps(const Ranges& ranges) {
    std::vector<cudasim_range> sorted = ranges.all();
    std::sort(sorted.begin(), sorted.end(), [](const cudasim_range& x, const cudasim_range& y) { return x.address < y.address; });
    const char *written = nullptr, *touched = nullptr;
    for (const cudasim_range& range : sorted) {
        const char* start = static_cast<const char*>(range.address);
        if (start < written || (range.write != 0 && start < touched)) {
            return true;
        }
        touched = std::max(touched, start + range.bytes);
        written = range.write != 0 ? std::max(written, start + range.bytes) : written;
    }
    return false;
}

struct Pointers {
    const void *alpha, *beta, *a, *b, *c;
    void *d, *workspace;
    size_t workspaceBytes;
};

Status checkPointers(const Problem& p, const Pointers& of, const Algorithm& algorithm, bool readsC) {
    const char* call = "cublasLtMatmul";
    if (of.alpha == nullptr || of.beta == nullptr || of.a == nullptr || of.b == nullptr || of.d == nullptr ||
        (readsC && of.c == nullptr)) {
        return refuse(INVALID_VALUE, call, "a pointer is null");
    }
    const void* matrices[] = {of.a, of.b, of.c, of.d};
    const Matrix* layouts[] = {&p.a, &p.b, &p.c, &p.d};
    for (int i = 0; i < 4; i++) {
        size_t step = std::max<size_t>(isFp8(p.a.type) ? VECTOR_BYTES : algorithm.alignment[i], bytesOf(layouts[i]->type));
        if (!aligned(matrices[i], step)) {
            return refuse(NOT_SUPPORTED, call, std::string("ABCD")[static_cast<size_t>(i)] + std::string(" is no multiple of ") +
                                                       std::to_string(step) + " bytes, which the algorithm was chosen for");
        }
    }
    if (of.workspaceBytes < algorithm.workspaceBytes || (algorithm.workspaceBytes > 0 && of.workspace == nullptr)) {
        return refuse(INVALID_VALUE, call, "the workspace is smaller than the algorithm needs");
    }
    if (!aligned(of.workspace, VECTOR_BYTES)) {
        return refuse(INVALID_VALUE, call, "the workspace is no multiple of 16 bytes");
    }
    if ((p.usesBias() && p.bias == nullptr) || (p.has(AUX_BIT) && p.aux == nullptr)) {
        return refuse(INVALID_VALUE, call, "the epilogue wants a pointer that was not set");
    }
    if (p.has(AUX_BIT) && !aligned(p.aux, VECTOR_BYTES)) {
        return refuse(NOT_SUPPORTED, call, "the auxiliary matrix is no multiple of 16 bytes");
    }
    if (readsC && of.c == of.d && (p.c.type != p.d.type || p.c.ld != p.d.ld || p.c.stride != p.d.stride)) {
        return refuse(INVALID_VALUE, call, "C is D, with another layout");
    }
    return SUCCESS;
}

Ranges touched(const Problem& p, const Pointers& of, size_t workspaceBytes, bool readsC) {
    Ranges ranges;
    p.a.touch(ranges, of.a, false);
    p.b.touch(ranges, of.b, false);
    if (readsC && of.c != of.d) {
        p.c.touch(ranges, of.c, false);
    }
    p.d.touch(ranges, of.d, true);
    if (p.usesBias()) {
        size_t batches = p.biasStride == 0 ? 1 : p.d.batches;
        Matrix vector = {p.biasType, p.biasLength(), 1, p.biasLength(), batches, p.biasStride};
        vector.touch(ranges, p.bias, p.writesBias());
    }
    if (p.has(AUX_BIT)) {
        p.auxMatrix.touch(ranges, p.aux, !p.readsAux());
    }
    if (workspaceBytes > 0) {
        ranges.write(of.workspace, workspaceBytes);
    }
    for (float* amax : {p.amaxD, p.amaxAux}) {
        ranges.write(amax, amax == nullptr ? 0 : sizeof(float));
    }
    return ranges;
}

// What is read before anything is written: scalars, and C where D takes its place.
Ranges scalars(const Problem& p, const Pointers& of, bool readsC) {
    Ranges ranges;
    for (const float* scale : {p.scaleA, p.scaleB, p.scaleC, p.scaleD, p.scaleAux}) {
        ranges.read(scale, scale == nullptr ? 0 : sizeof(float));
    }
    if (p.deviceScalars) {
        ranges.read(of.alpha, sizeof(float));
        ranges.read(of.beta, sizeof(float));
    }
    if (readsC && of.c == of.d) {
        p.c.touch(ranges, of.c, false);
    }
    return ranges;
}

std::string nameOf(const Problem& p) {
    return "cublasLtMatmul m=" + std::to_string(p.m) + " n=" + std::to_string(p.n) + " k=" + std::to_string(p.k) +
           " epilogue=" + std::to_string(p.epilogue);
}

}  // namespace

#define EXPORT extern "C" __attribute__((visibility("default")))
#define COUNT(call)                             \
    if (int planted = cudasim_fault(call)) {          \
        return static_cast<Status>(planted);    \
    }

EXPORT size_t cublasLtGetVersion() {
    return 130201;
}

EXPORT size_t cublasLtGetCudartVersion() {
    return 13010;
}

EXPORT const char* cublasLtGetStatusName(Status status) {
    switch (status) {
        case SUCCESS:
            return "CUBLAS_STATUS_SUCCESS";
        case NOT_INITIALIZED:
            return "CUBLAS_STATUS_NOT_INITIALIZED";
        case ALLOC_FAILED:
            return "CUBLAS_STATUS_ALLOC_FAILED";
        case INVALID_VALUE:
            return "CUBLAS_STATUS_INVALID_VALUE";
        case ARCH_MISMATCH:
            return "CUBLAS_STATUS_ARCH_MISMATCH";
        case EXECUTION_FAILED:
            return "CUBLAS_STATUS_EXECUTION_FAILED";
        case INTERNAL_ERROR:
            return "CUBLAS_STATUS_INTERNAL_ERROR";
        case NOT_SUPPORTED:
            return "CUBLAS_STATUS_NOT_SUPPORTED";
    }
    return "unknown cublasStatus_t";
}

EXPORT const char* cublasLtGetStatusString(Status status) {
    return cublasLtGetStatusName(status);
}

EXPORT Status cublasLtCreate(void** handle) {
    COUNT("cublasLtCreate")
    if (handle == nullptr) {
        return INVALID_VALUE;
    }
    int device = cudasim_current_device();
    if (device < 0) {
        return refuse(NOT_INITIALIZED, "cublasLtCreate", "the thread has no context");
    }
    Handle* made = new Handle{device};
    std::lock_guard<std::mutex> guard(lock());
    handles().insert(made);
    *handle = made;
    return SUCCESS;
}

EXPORT Status cublasLtDestroy(void* handle) {
    COUNT("cublasLtDestroy")
    std::lock_guard<std::mutex> guard(lock());
    if (handles().erase(handle) == 0) {
        cudasim_violation("cublasLtDestroy: %p is no living handle", handle);
        return NOT_INITIALIZED;
    }
    delete static_cast<Handle*>(handle);
    return SUCCESS;
}

EXPORT Status cublasLtMatmulDescCreate(void** descriptor, int computeType, int scaleType) {
    COUNT("cublasLtMatmulDescCreate")
    if (descriptor == nullptr) {
        return INVALID_VALUE;
    }
    Descriptor* made = createDescriptor(Kind::MATMUL);
    made->values[COMPUTE_TYPE] = computeType;
    made->values[SCALE_TYPE] = scaleType;
    *descriptor = made;
    return SUCCESS;
}

EXPORT Status cublasLtMatmulDescDestroy(void* descriptor) {
    COUNT("cublasLtMatmulDescDestroy")
    return destroyDescriptor(Kind::MATMUL, descriptor, "cublasLtMatmulDescDestroy");
}

EXPORT Status cublasLtMatmulDescSetAttribute(void* descriptor, int attribute, const void* value, size_t bytes) {
    COUNT("cublasLtMatmulDescSetAttribute")
    return setAttribute(Kind::MATMUL, descriptor, attribute, value, bytes, "cublasLtMatmulDescSetAttribute");
}

EXPORT Status cublasLtMatmulDescGetAttribute(void* descriptor, int attribute, void* value, size_t bytes, size_t* written) {
    COUNT("cublasLtMatmulDescGetAttribute")
    return getAttribute(Kind::MATMUL, descriptor, attribute, value, bytes, written, "cublasLtMatmulDescGetAttribute");
}

EXPORT Status cublasLtMatrixLayoutCreate(void** layout, int type, uint64_t rows, uint64_t cols, int64_t ld) {
    COUNT("cublasLtMatrixLayoutCreate")
    if (layout == nullptr) {
        return INVALID_VALUE;
    }
    Descriptor* made = createDescriptor(Kind::LAYOUT);
    made->values[TYPE] = type;
    made->values[ROWS] = static_cast<int64_t>(rows);
    made->values[COLS] = static_cast<int64_t>(cols);
    made->values[LD] = ld;
    *layout = made;
    return SUCCESS;
}

EXPORT Status cublasLtMatrixLayoutDestroy(void* layout) {
    COUNT("cublasLtMatrixLayoutDestroy")
    return destroyDescriptor(Kind::LAYOUT, layout, "cublasLtMatrixLayoutDestroy");
}

EXPORT Status cublasLtMatrixLayoutSetAttribute(void* layout, int attribute, const void* value, size_t bytes) {
    COUNT("cublasLtMatrixLayoutSetAttribute")
    return setAttribute(Kind::LAYOUT, layout, attribute, value, bytes, "cublasLtMatrixLayoutSetAttribute");
}

EXPORT Status cublasLtMatrixLayoutGetAttribute(void* layout, int attribute, void* value, size_t bytes, size_t* written) {
    COUNT("cublasLtMatrixLayoutGetAttribute")
    return getAttribute(Kind::LAYOUT, layout, attribute, value, bytes, written, "cublasLtMatrixLayoutGetAttribute");
}

EXPORT Status cublasLtMatmulPreferenceCreate(void** preference) {
    COUNT("cublasLtMatmulPreferenceCreate")
    if (preference == nullptr) {
        return INVALID_VALUE;
    }
    *preference = createDescriptor(Kind::PREFERENCE);
    return SUCCESS;
}

EXPORT Status cublasLtMatmulPreferenceDestroy(void* preference) {
    COUNT("cublasLtMatmulPreferenceDestroy")
    return destroyDescriptor(Kind::PREFERENCE, preference, "cublasLtMatmulPreferenceDestroy");
}

EXPORT Status cublasLtMatmulPreferenceSetAttribute(void* preference, int attribute, const void* value, size_t bytes) {
    COUNT("cublasLtMatmulPreferenceSetAttribute")
    return setAttribute(Kind::PREFERENCE, preference, attribute, value, bytes, "cublasLtMatmulPreferenceSetAttribute");
}

EXPORT Status cublasLtMatmulAlgoGetHeuristic(void* handle, void* matmul, void* a, void* b, void* c, void* d, void* preference,
                                             int requested, Heuristic* results, int* returned) {
    const char* call = "cublasLtMatmulAlgoGetHeuristic";
    COUNT(call)
    if (!living(handle)) {
        return refuse(NOT_INITIALIZED, call, "no living handle");
    }
    Descriptor* limits = findDescriptor(Kind::PREFERENCE, preference, call);
    if (limits == nullptr || requested <= 0 || results == nullptr || returned == nullptr) {
        return refuse(INVALID_VALUE, call, "a parameter is missing");
    }
    *returned = 0;
    Problem problem;
    if (Status status = describeAt(call, matmul, a, b, c, d, problem)) {
        return status;
    }
    uint32_t alignment[4];
    for (int i = 0; i < 4; i++) {
        alignment[i] = static_cast<uint32_t>((*limits)[ALIGNMENT_A + i]);
    }
    size_t split = problem.splitBytes();
    if (split > 0 && split <= static_cast<size_t>((*limits)[MAX_WORKSPACE])) {
        results[(*returned)++] = {choose(split, alignment, problem.scaled()), split, SUCCESS, 1.0f, {}};
    }
    if (*returned < requested) {
        results[(*returned)++] = {choose(0, alignment, problem.scaled()), 0, SUCCESS, 1.0f, {}};
    }
    return SUCCESS;
}

EXPORT Status cublasLtMatmul(void* handle, void* matmul, const void* alpha, const void* a, void* layoutA, const void* b,
                             void* layoutB, const void* beta, const void* c, void* layoutC, void* d, void* layoutD,
                             const Algorithm* chosen, void* workspace, size_t workspaceBytes, CUstream stream) {
    const char* call = "cublasLtMatmul";
    COUNT(call)
    if (!living(handle)) {
        return refuse(NOT_INITIALIZED, call, "no living handle");
    }
    Problem problem;
    if (Status status = describeAt(call, matmul, layoutA, layoutB, layoutC, layoutD, problem)) {
        return status;
    }
    Algorithm algorithm = chosen == nullptr ? choose(0, {1, 1, 1, 1}, problem.scaled()) : *chosen;
    if (algorithm.magic != ALGORITHM) {
        cudasim_violation("cublasLtMatmul: an algorithm that no heuristic gave");
        return refuse(INVALID_VALUE, call, "an algorithm that no heuristic gave");
    }
    if (algorithm.scaled != problem.scaled()) {
        cudasim_violation("%s: its algorithm was chosen %s scales", nameOf(problem).c_str(), algorithm.scaled ? "with" : "without");
        return refuse(NOT_SUPPORTED, call, "the algorithm was chosen for another product");
    }
    if (algorithm.workspaceBytes != 0 && algorithm.workspaceBytes != problem.splitBytes()) {
        return refuse(NOT_SUPPORTED, call, "the algorithm was chosen for another product");
    }
    bool readsC = problem.deviceScalars || (beta != nullptr && *static_cast<const float*>(beta) != 0);
    Pointers of = {alpha, beta, a, b, c, d, workspace, workspaceBytes};
    if (Status status = checkPointers(problem, of, algorithm, readsC)) {
        return status;
    }
    Ranges operands = touched(problem, of, algorithm.workspaceBytes, readsC);
    if (overlaps(operands)) {
        cudasim_violation("%s: what it writes overlaps what it reads or writes elsewhere", nameOf(problem).c_str());
        return refuse(INVALID_VALUE, call, "operands overlap");
    }
    Ranges ranges = scalars(problem, of, readsC);
    ranges.append(operands);
    bool onDevice = problem.deviceScalars;
    float hostAlpha = onDevice ? 0 : *static_cast<const float*>(alpha), hostBeta = onDevice ? 0 : *static_cast<const float*>(beta);
    size_t scratch = algorithm.workspaceBytes;
    int error = enqueue(stream, nameOf(problem), ranges, false, [=] {
        // A real kernel leaves its parts of the sum there.
        memset(of.workspace, 0xff, of.workspace == nullptr ? 0 : scratch);
        compute(problem, onDevice ? *static_cast<const float*>(of.alpha) : hostAlpha,
                onDevice ? *static_cast<const float*>(of.beta) : hostBeta, of.a, of.b, of.c, of.d);
    });
    return error == 0 ? SUCCESS : refuse(EXECUTION_FAILED, call, "CUDA error " + std::to_string(error));
}
