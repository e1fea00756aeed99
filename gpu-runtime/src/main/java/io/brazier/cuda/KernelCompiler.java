package io.brazier.cuda;

import static org.bytedeco.cuda.global.nvrtc.NVRTC_SUCCESS;
import static org.bytedeco.cuda.global.nvrtc.nvrtcCompileProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcCreateProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcDestroyProgram;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetCUBIN;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetCUBINSize;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetErrorString;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetProgramLog;
import static org.bytedeco.cuda.global.nvrtc.nvrtcGetProgramLogSize;

import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.cuda.nvrtc._nvrtcProgram;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.javacpp.SizeTPointer;

/** Compiles the kernel files that travel with this class to the machine code of one kind of GPU. */
public final class KernelCompiler {
    private static final String HEADER = "brazier.cuh";

    private final int computeCapability;
    private final KernelCache cache;

    /** @param computeCapability ten times the GPU's: 90 for 9.0 */
    public KernelCompiler(int computeCapability, KernelCache cache) {
        CudaLibraries.require();
        this.computeCapability = computeCapability;
        this.cache = cache;
    }

    /** What a compilation gave. */
    public record Compiled(byte[] code, String log) {}

    /** The machine code of a file such as norm.cu, from the cache if it is there. */
    byte[] code(String file) {
        List<String> options = options();
        String key = cache.key(read(file), read(HEADER), String.join(" ", options));
        return cache.get(key, () -> compile(file, options).code());
    }

    /** Compiles a file afresh; the log has the resources that each kernel takes. */
    public Compiled compileVerbosely(String file) {
        List<String> options = new ArrayList<>(options());
        options.add("--ptxas-options=-v");
        return compile(file, options);
    }

    private List<String> options() {
        // Without the last, CUDA 13.0 and 13.1 take generic lambdas for functions of the host.
        return List.of("--gpu-architecture=sm_" + computeCapability, "--std=c++17", "-default-device");
    }

    private static Compiled compile(String file, List<String> options) {
        _nvrtcProgram program = new _nvrtcProgram();
        try (PointerPointer<BytePointer> headers = new PointerPointer<>(read(HEADER));
                PointerPointer<BytePointer> names = new PointerPointer<>(HEADER);
                PointerPointer<BytePointer> arguments = new PointerPointer<>(options.toArray(new String[0]));
                BytePointer source = new BytePointer(read(file), StandardCharsets.UTF_8);
                BytePointer name = new BytePointer(file, StandardCharsets.UTF_8)) {
            check("nvrtcCreateProgram", nvrtcCreateProgram(program, source, name, 1, headers, names));
            int result = nvrtcCompileProgram(program, options.size(), arguments);
            String log = log(program);
            if (result != NVRTC_SUCCESS) {
                throw new CudaException("nvrtcCompileProgram of " + file, result, log);
            }
            return new Compiled(code(program), log);
        } finally {
            nvrtcDestroyProgram(program);
        }
    }

    private static byte[] code(_nvrtcProgram program) {
        try (SizeTPointer size = new SizeTPointer(1)) {
            check("nvrtcGetCUBINSize", nvrtcGetCUBINSize(program, size));
            byte[] code = new byte[Math.toIntExact(size.get())];
            check("nvrtcGetCUBIN", nvrtcGetCUBIN(program, code));
            return code;
        }
    }

    private static String log(_nvrtcProgram program) {
        try (SizeTPointer size = new SizeTPointer(1)) {
            check("nvrtcGetProgramLogSize", nvrtcGetProgramLogSize(program, size));
            byte[] log = new byte[Math.toIntExact(size.get())];
            check("nvrtcGetProgramLog", nvrtcGetProgramLog(program, log));
            return new String(log, StandardCharsets.UTF_8).replace("\0", "").strip();
        }
    }

    private static void check(String call, int result) {
        if (result != NVRTC_SUCCESS) {
            throw new CudaException(call, result, nvrtcGetErrorString(result).getString());
        }
    }

    private static String read(String file) {
        try (InputStream in = KernelCompiler.class.getResourceAsStream(file)) {
            if (in == null) {
                throw new IllegalArgumentException("no kernel file " + file);
            }
            return new String(in.readAllBytes(), StandardCharsets.UTF_8);
        } catch (IOException e) {
            throw new UncheckedIOException(e);
        }
    }
}
