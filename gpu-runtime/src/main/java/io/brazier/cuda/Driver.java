package io.brazier.cuda;

import static org.bytedeco.cuda.global.cudart.CUDA_SUCCESS;
import static org.bytedeco.cuda.global.cudart.cuGetErrorName;
import static org.bytedeco.cuda.global.cudart.cuGetErrorString;

import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerPointer;

/** Results of driver calls. */
final class Driver {
    private Driver() {}

    /** @throws CudaException naming the call, when result is an error */
    static void check(String call, int result) {
        if (result != CUDA_SUCCESS) {
            throw new CudaException(call, result, describe(result));
        }
    }

    private static String describe(int result) {
        try (PointerPointer<BytePointer> text = new PointerPointer<>(1)) {
            String name = cuGetErrorName(result, text) == CUDA_SUCCESS ? text(text) : "unknown error";
            return cuGetErrorString(result, text) == CUDA_SUCCESS ? name + ", " + text(text) : name;
        }
    }

    private static String text(PointerPointer<BytePointer> text) {
        return text.get(BytePointer.class, 0).getString();
    }
}
