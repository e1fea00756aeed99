package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
import static org.bytedeco.cuda.global.cudart.cuFuncGetParamInfo;
import static org.bytedeco.cuda.global.cudart.cuFuncSetAttribute;
import static org.bytedeco.cuda.global.cudart.cuLaunchKernel;

import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.cudart.CUfunc_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;

/**
 * One launch of a kernel on the compute stream; arguments are packed once, so that a run is one call. Arguments come in the order of
 * the kernel's parameters, and their sizes are checked against the compiled kernel's.
 */
final class CudaLaunch {
    private static final int SLOT_BYTES = 8;
    private static final int WARP_SIZE = 32;

    /** Dynamic shared memory that a kernel may take without asking. */
    private static final int FREE_SHARED_BYTES = 48 << 10;

    /** Most blocks of a grid in which every thread strides over many elements: a few waves of an H100's 132 multiprocessors. */
    private static final long MAX_STRIDING_BLOCKS = 132 * 16;

    private record Argument(long bits, int bytes) {}

    private final String kernel;
    private final CUfunc_st function;
    private final CUstream_st stream;
    private final List<Argument> arguments = new ArrayList<>();
    private int gridX = 1;
    private int gridY = 1;
    private int gridZ = 1;
    private int threads = 256;
    private int sharedBytes;

    CudaLaunch(String kernel, CUfunc_st function, CUstream_st stream) {
        this.kernel = kernel;
        this.function = function;
        this.stream = stream;
    }

    CudaLaunch grid(long x) {
        return grid(x, 1, 1);
    }

    /** Blocks in each dimension: x up to 2^31 - 1, y and z up to 65,535. */
    CudaLaunch grid(long x, long y, long z) {
        if (x < 1 || x > Integer.MAX_VALUE || y < 1 || y > 65_535 || z < 1 || z > 65_535) {
            throw new IllegalArgumentException("grid " + x + " x " + y + " x " + z + " of " + kernel);
        }
        gridX = (int) x;
        gridY = (int) y;
        gridZ = (int) z;
        return this;
    }

    /** Threads of a block. */
    CudaLaunch block(int threads) {
        this.threads = threads;
        return this;
    }

    /** Blocks for a kernel whose threads stride over count items, one item a thread at a time. */
    CudaLaunch over(long count) {
        return grid(Math.max(1, Math.min(MAX_STRIDING_BLOCKS, (count + threads - 1) / threads)));
    }

    /** The same blocks again for each of so many samples, which are the grid's second dimension. */
    CudaLaunch samples(long count) {
        return grid(gridX, count, 1);
    }

    /** Blocks for a kernel whose warps take a row each. */
    CudaLaunch warps(long rows) {
        return grid((rows * WARP_SIZE + threads - 1) / threads);
    }

    /** Dynamic shared memory of a block. */
    CudaLaunch shared(int bytes) {
        sharedBytes = bytes;
        return this;
    }

    /** Pointers, 0 for none. */
    CudaLaunch pointers(long... addresses) {
        for (long address : addresses) {
            arguments.add(new Argument(address, 8));
        }
        return this;
    }

    /** long long parameters. */
    CudaLaunch longs(long... values) {
        return pointers(values);
    }

    CudaLaunch ints(long... values) {
        for (long value : values) {
            arguments.add(new Argument(Math.toIntExact(value), 4));
        }
        return this;
    }

    CudaLaunch doubles(double... values) {
        for (double value : values) {
            longs(Double.doubleToRawLongBits(value));
        }
        return this;
    }

    CudaLaunch floats(double... values) {
        for (double value : values) {
            arguments.add(new Argument(Float.floatToRawIntBits((float) value), 4));
        }
        return this;
    }

    /** What launches the kernel. */
    Runnable build() {
        checkParameters();
        if (sharedBytes > FREE_SHARED_BYTES) {
            check(
                    "cuFuncSetAttribute of " + kernel,
                    cuFuncSetAttribute(function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, sharedBytes));
        }
        BytePointer slots = new BytePointer((long) SLOT_BYTES * arguments.size());
        PointerPointer<Pointer> pointers = new PointerPointer<>(arguments.size());
        for (int x = 0; x < arguments.size(); x++) {
            slots.putLong((long) SLOT_BYTES * x, arguments.get(x).bits());
            pointers.put(x, slots.getPointer((long) SLOT_BYTES * x));
        }
        return new Runnable() {
            /** Keeps the arguments, to which pointers only points. */
            private final BytePointer kept = slots;

            @Override
            public void run() {
                check(
                        "cuLaunchKernel of " + kernel,
                        cuLaunchKernel(
                                function, gridX, gridY, gridZ, threads, 1, 1, sharedBytes, stream, pointers, null));
            }

            @Override
            public String toString() {
                return kernel + " with " + kept.limit() / SLOT_BYTES + " arguments";
            }
        };
    }

    private void checkParameters() {
        try (SizeTPointer offset = new SizeTPointer(1);
                SizeTPointer size = new SizeTPointer(1)) {
            for (int x = 0; x < arguments.size(); x++) {
                int result = cuFuncGetParamInfo(function, x, offset, size);
                if (result != 0 || size.get() != arguments.get(x).bytes()) {
                    throw new IllegalArgumentException("argument " + x + " of " + kernel + " has "
                            + arguments.get(x).bytes() + " bytes, its parameter "
                            + (result == 0 ? Long.toString(size.get()) : "does not exist"));
                }
            }
            if (cuFuncGetParamInfo(function, arguments.size(), offset, size) == 0) {
                throw new IllegalArgumentException(kernel + " takes more than " + arguments.size() + " arguments");
            }
        }
    }
}
