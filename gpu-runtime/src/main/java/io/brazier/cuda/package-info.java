/**
 * Runs plans on one NVIDIA GPU: kernels compiled by NVRTC, products by cuBLASLt, exchanges by NCCL. Classes that touch the CUDA
 * presets are only reached after {@link io.brazier.cuda.CudaLibraries} has loaded the libraries.
 */
package io.brazier.cuda;
