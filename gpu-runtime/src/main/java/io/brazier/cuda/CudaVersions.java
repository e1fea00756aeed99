package io.brazier.cuda;

import static org.bytedeco.cuda.global.cublas.cublasLtGetVersion;
import static org.bytedeco.cuda.global.nccl.ncclGetVersion;
import static org.bytedeco.cuda.global.nvrtc.nvrtcVersion;

import java.util.List;
import java.util.Optional;

/** What the libraries that compute say of themselves. */
public final class CudaVersions {
    private CudaVersions() {}

    /** The newest CUDA that a driver serves, or a library's, from 1000 major + 10 minor: {@code 13.1}. */
    public static String cuda(int version) {
        return version / 1000 + "." + version % 1000 / 10;
    }

    /** The version of a library by its soname, if it tells one and loads. */
    public static Optional<String> of(String soname) {
        switch (soname) {
            case "libnvrtc.so.13":
                return loads("libcuda.so.1", "libcudart.so.13", soname) ? Optional.of(nvrtc()) : Optional.empty();
            case "libcublasLt.so.13":
                return loads("libcuda.so.1", "libcudart.so.13", soname, "libcublas.so.13")
                        ? Optional.of(threeParts(cublasLtGetVersion()))
                        : Optional.empty();
            case "libnccl.so.2":
                return loads("libcuda.so.1", "libcudart.so.13", soname) ? Optional.of(nccl()) : Optional.empty();
            default:
                return Optional.empty();
        }
    }

    private static boolean loads(String... sonames) {
        return CudaLibraries.unavailable(List.of(sonames)).isEmpty();
    }

    private static String nvrtc() {
        int[] major = new int[1];
        int[] minor = new int[1];
        nvrtcVersion(major, minor);
        return major[0] + "." + minor[0];
    }

    private static String nccl() {
        int[] version = new int[1];
        ncclGetVersion(version);
        return threeParts(version[0]);
    }

    /** From 10000 major + 100 minor + patch. */
    private static String threeParts(long version) {
        return version / 10_000 + "." + version % 10_000 / 100 + "." + version % 100;
    }
}
