// What the compiler calls before each access to memory (the interface of its thread sanitizer) and where a check of its undefined
// behaviour sanitizer fails; both go to the run time instead of the sanitizers' own libraries.
#pragma once

#ifdef CUDASIM_CHECKED

#define CUDASIM_UNCHECKED extern "C" __attribute__((used, no_sanitize("thread", "alignment", "bounds")))

namespace cudasim {

__forceinline__ void touch(const void* address, unsigned long bytes, Access access) {
    if (reinterpret_cast<unsigned long long>(address) - cudasim_stacks >= cudasim_stack_bytes) {
        cudasim_services.access(
            cudasim_engine, address, static_cast<unsigned>(bytes), access, __builtin_return_address(0));
    }
}

// The compiler's records of a check, as laid out by it.
struct SourceLocation {
    const char* file;
    unsigned line, column;
    __forceinline__ Place place() const { return {file, static_cast<int>(line)}; }
};

struct TypeDescriptor {
    unsigned short kind, info;
    char name[1];
};

struct TypeMismatch {
    SourceLocation location;
    const TypeDescriptor* type;
    unsigned char log_alignment, kind;
};

struct OutOfBounds {
    SourceLocation location;
    const TypeDescriptor *array, *index;
};

struct Overflow {
    SourceLocation location;
    const TypeDescriptor* type;
};

}  // namespace cudasim

#define CUDASIM_TOUCH(bytes)                                                                                     \
    CUDASIM_UNCHECKED void __tsan_read##bytes(void* p) { cudasim::touch(p, bytes, cudasim::Access::kRead); }     \
    CUDASIM_UNCHECKED void __tsan_write##bytes(void* p) { cudasim::touch(p, bytes, cudasim::Access::kWrite); }   \
    CUDASIM_UNCHECKED void __tsan_unaligned_read##bytes(void* p) { cudasim::touch(p, bytes, cudasim::Access::kRead); } \
    CUDASIM_UNCHECKED void __tsan_unaligned_write##bytes(void* p) { cudasim::touch(p, bytes, cudasim::Access::kWrite); }

CUDASIM_TOUCH(1)
CUDASIM_TOUCH(2)
CUDASIM_TOUCH(4)
CUDASIM_TOUCH(8)
CUDASIM_TOUCH(16)

CUDASIM_UNCHECKED void __tsan_read_range(void* p, unsigned long bytes) {
    cudasim::touch(p, bytes, cudasim::Access::kRead);
}

CUDASIM_UNCHECKED void __tsan_write_range(void* p, unsigned long bytes) {
    cudasim::touch(p, bytes, cudasim::Access::kWrite);
}

CUDASIM_UNCHECKED void __tsan_init() {}

CUDASIM_UNCHECKED void __ubsan_handle_type_mismatch_v1(cudasim::TypeMismatch* check, void* address) {
    cudasim_services.misaligned(cudasim_engine, address, 1u << check->log_alignment, check->location.place());
}

CUDASIM_UNCHECKED void __ubsan_handle_out_of_bounds(cudasim::OutOfBounds* check, long long index) {
    cudasim_services.out_of_bounds(cudasim_engine, index, check->array->name, check->location.place());
}

CUDASIM_UNCHECKED void __ubsan_handle_divrem_overflow(cudasim::Overflow* check, long long, long long) {
    cudasim_services.divided_by_zero(cudasim_engine, check->location.place());
}

#endif
