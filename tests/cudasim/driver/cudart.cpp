// The runtime API, which nothing here calls: the presets' JNI library of the driver API merely wants it loaded.
#define API extern "C" __attribute__((visibility("default"))) int

API cudaRuntimeGetVersion(int* version) {
    *version = 13010;
    return 0;
}
