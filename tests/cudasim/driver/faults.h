// What every entry point does first.
#pragma once

#include <mutex>

#include "cudasim.h"
#include "device.h"

namespace cudasim {

// cuda.h's results.
enum Result {
    kSuccess = 0,
    kInvalidValue = 1,
    kOutOfMemory = 2,
    kNotInitialized = 3,
    kInvalidDevice = 101,
    kInvalidContext = 201,
    kInvalidImage = 200,
    kInvalidHandle = 400,
    kNotFound = 500,
    kNotReady = 600,
    kOutOfResources = 701,
    kNotSupported = 801,
    kCaptureUnsupported = 900,
    kCaptureInvalidated = 901,
    kCaptureUnmatched = 903,
    kCaptureUnjoined = 904,
    kCaptureIsolation = 905,
    kCaptureMerge = 906,
    kCapturedEvent = 907,
};

// The device that the calling thread has bound, or null.
Device* bound();
void bind(Device* device);
bool initialized();

}  // namespace cudasim

// Returns what a test planted, or what keeps every call from working.
#define ENTER(name)                                    \
    if (int planted = cudasim_fault(name)) {           \
        return planted;                                \
    }                                                  \
    if (!cudasim::initialized()) {                     \
        return cudasim::kNotInitialized;               \
    }

#define ENTER_DEVICE(name)                             \
    ENTER(name)                                        \
    cudasim::Device* device = cudasim::bound();        \
    if (device == nullptr) {                           \
        return cudasim::kInvalidContext;               \
    }                                                  \
    std::unique_lock<std::mutex> lock(device->mutex()); \
    if (device->error() != 0) {                        \
        return device->error();                        \
    }

#define API extern "C" __attribute__((visibility("default"))) int
