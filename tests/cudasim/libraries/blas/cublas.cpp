// Nothing: every function of libcublas.so.13 is a stub. The file is what the stubs are linked with.
namespace cudasim {}
