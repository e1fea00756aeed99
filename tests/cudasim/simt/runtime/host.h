// What the emulator asks of the library that holds the simulated device (libcuda, or a test's own).
#pragma once

#include <cstddef>

extern "C" {

// Judges an access of a kernel to memory outside its block: 0, or the CUDA error that ends the launch before the access happens.
// The callee records the violation.
int cudasim_read(const void* address, size_t bytes);
int cudasim_write(const void* address, size_t bytes);

// Records that a program broke a rule.
void cudasim_violation(const char* format, ...) __attribute__((format(printf, 1, 2)));

// The other way round: "kernel k, block (x,y,z), thread (x,y,z), at file:line" of the access that the host judges, "" at other times.
void cudasim_where(char* text, size_t bytes);
}
