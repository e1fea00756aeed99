package io.brazier.cuda;

import java.util.Set;

/** A call of CUDA, NVRTC, cuBLASLt, NCCL or NVML that failed. */
public final class CudaException extends RuntimeException {
    private static final long serialVersionUID = 1;

    /** Driver errors after which every call of the process fails: addresses, traps, ECC, link and launch failures. */
    private static final Set<Integer> STICKY =
            Set.of(214, 220, 221, 226, 700, 702, 709, 710, 714, 715, 716, 717, 718, 719);

    private final String call;
    private final int code;

    CudaException(String call, int code, String what) {
        super(call + " failed: " + what + " (" + code + ")");
        this.call = call;
        this.code = code;
    }

    private CudaException(String where, CudaException cause) {
        super(where + ": " + cause.getMessage(), cause);
        this.call = cause.call;
        this.code = cause.code;
    }

    /** The same failure, naming where it came up. */
    CudaException at(String where) {
        return new CudaException(where, this);
    }

    /** Whether an exchange between ranks failed, which is mostly the echo of another rank's failure. */
    public boolean ofExchange() {
        return call.startsWith("nccl") || call.startsWith("an exchange");
    }

    /** Whether the device's context is lost, and so this process for the device. */
    public boolean sticky() {
        return call.startsWith("cu") && !call.startsWith("cublas") && STICKY.contains(code);
    }
}
