// What the simulated device offers to the other stand-ins: kernels' accesses, work on streams, faults, violations.
//
// A test double: it runs on the CPU, checks what is asked of it as compute-sanitizer would, and measures nothing.
#pragma once

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct CUstream_st* CUstream;

// Memory of the device that a piece of work reads or writes.
typedef struct {
    const void* address;
    size_t bytes;
    int write;
} cudasim_range;

// Work on a stream, ordered, checked and captured as a kernel is. It may run several times, if a graph captured it; release ends it.
// Blocking work waits for other devices and gets a thread of its own. Returns a CUresult.
int cudasim_enqueue(CUstream stream, const char* what, const cudasim_range* ranges, int count, int blocking,
                    void (*run)(void* argument), void* argument, void (*release)(void* argument));

// Judges an access of a kernel to memory outside its block: 0, or the CUDA error that ends the launch before the access happens.
int cudasim_read(const void* address, size_t bytes);
int cudasim_write(const void* address, size_t bytes);

// Records that a program broke a rule; the text also goes to stderr.
void cudasim_violation(const char* format, ...) __attribute__((format(printf, 1, 2)));

// What a program shows of itself on a profiler's time line.
void cudasim_range_opened(const char* name);
void cudasim_range_closed(void);

// Counts a call; returns the error that a test planted for it, or 0.
int cudasim_fault(const char* function);

// The device that holds an address, or that the calling thread has bound; -1 for none.
int cudasim_device_of(const void* address);
int cudasim_current_device(void);

#ifdef __cplusplus
}
#endif
