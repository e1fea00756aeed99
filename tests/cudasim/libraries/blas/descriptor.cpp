#include "descriptor.h"

#include <cstring>
#include <mutex>
#include <unordered_map>

#include "../work.h"

namespace cudasim {

namespace {

struct Entry {
    int id;
    size_t bytes;
    int64_t initial;
};

// The sizes and defaults of the documentation. What has no effect here can be set all the same.
constexpr Entry MATMUL_ENTRIES[] = {{COMPUTE_TYPE, 4, 68},
                                    {SCALE_TYPE, 4, 0},
                                    {POINTER_MODE, 4, 0},
                                    {TRANS_A, 4, 0},
                                    {TRANS_B, 4, 0},
                                    {TRANS_C, 4, 0},
                                    {FILL_MODE, 4, 2},
                                    {EPILOGUE, 4, 1},
                                    {BIAS_POINTER, 8, 0},
                                    {BIAS_BATCH_STRIDE, 8, 0},
                                    {AUX_POINTER, 8, 0},
                                    {AUX_LD, 8, 0},
                                    {AUX_BATCH_STRIDE, 8, 0},
                                    {15, 4, 0},
                                    {A_SCALE, 8, 0},
                                    {B_SCALE, 8, 0},
                                    {C_SCALE, 8, 0},
                                    {D_SCALE, 8, 0},
                                    {AMAX_D, 8, 0},
                                    {AUX_TYPE, 4, -1},
                                    {AUX_SCALE, 8, 0},
                                    {AUX_AMAX, 8, 0},
                                    {25, 1, 0},
                                    {BIAS_TYPE, 4, -1}};
constexpr Entry LAYOUT_ENTRIES[] = {{TYPE, 4, 0}, {ORDER, 4, 0},       {ROWS, 8, 0},         {COLS, 8, 0},
                                    {LD, 8, 0},   {BATCH_COUNT, 4, 1}, {BATCH_OFFSET, 8, 0}, {BATCH_MODE, 4, 0}};
constexpr Entry PREFERENCE_ENTRIES[] = {{0, 4, 0},   {MAX_WORKSPACE, 8, 0}, {3, 4, 7}, {5, 4, 256}, {6, 4, 256},
                                        {7, 4, 256}, {8, 4, 256},           {9, 4, 0}, {12, 8, -1}};

template <typename Visit>
void entriesOf(Kind kind, Visit visit) {
    switch (kind) {
        case Kind::MATMUL:
            for (const Entry& entry : MATMUL_ENTRIES) visit(entry);
            break;
        case Kind::LAYOUT:
            for (const Entry& entry : LAYOUT_ENTRIES) visit(entry);
            break;
        case Kind::PREFERENCE:
            for (const Entry& entry : PREFERENCE_ENTRIES) visit(entry);
            break;
    }
}

size_t bytesOfAttribute(Kind kind, int id) {
    size_t bytes = 0;
    entriesOf(kind, [&](const Entry& entry) { bytes = entry.id == id ? entry.bytes : bytes; });
    return bytes;
}

// Never destroyed: threads of a virtual machine that ends may still ask.
std::mutex& lock() {
    static std::mutex* mutex = new std::mutex;
    return *mutex;
}

std::unordered_map<const void*, Descriptor*>& living() {
    static auto* map = new std::unordered_map<const void*, Descriptor*>;
    return *map;
}

}  // namespace

Descriptor* createDescriptor(Kind kind) {
    Descriptor* made = new Descriptor{kind, {}};
    entriesOf(kind, [&](const Entry& entry) { made->values[entry.id] = entry.initial; });
    std::lock_guard<std::mutex> guard(lock());
    living()[made] = made;
    return made;
}

Descriptor* findDescriptor(Kind kind, const void* address, const char* call) {
    std::lock_guard<std::mutex> guard(lock());
    auto found = living().find(address);
    if (found == living().end() || found->second->kind != kind) {
        cudasim_violation("%s: %p is no living descriptor of the kind it wants", call, address);
        return nullptr;
    }
    return found->second;
}

Status destroyDescriptor(Kind kind, void* address, const char* call) {
    Descriptor* found = findDescriptor(kind, address, call);
    if (found == nullptr) {
        return INVALID_VALUE;
    }
    std::lock_guard<std::mutex> guard(lock());
    living().erase(address);
    delete found;
    return SUCCESS;
}

Status setAttribute(Kind kind, void* address, int attribute, const void* value, size_t bytes, const char* call) {
    Descriptor* found = findDescriptor(kind, address, call);
    if (found == nullptr || value == nullptr || bytes == 0 || bytes != bytesOfAttribute(kind, attribute)) {
        return INVALID_VALUE;
    }
    int64_t wide = 0;
    int32_t narrow = 0;
    if (bytes == 4) {
        memcpy(&narrow, value, bytes);
        wide = narrow;
    } else {
        memcpy(&wide, value, bytes);
    }
    found->values[attribute] = wide;
    return SUCCESS;
}

Status getAttribute(Kind kind, const void* address, int attribute, void* value, size_t bytes, size_t* written, const char* call) {
    Descriptor* found = findDescriptor(kind, address, call);
    size_t needed = bytesOfAttribute(kind, attribute);
    if (found == nullptr || needed == 0) {
        return INVALID_VALUE;
    }
    if (written != nullptr) {
        *written = needed;
    }
    if (bytes == 0) {
        return written == nullptr ? INVALID_VALUE : SUCCESS;
    }
    if (value == nullptr || bytes != needed) {
        return INVALID_VALUE;
    }
    int64_t wide = found->values[attribute];
    memcpy(value, &wide, needed);
    return SUCCESS;
}

}  // namespace cudasim
