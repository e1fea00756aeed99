package io.brazier.cuda;

import static io.brazier.cuda.Driver.check;
import static org.bytedeco.cuda.global.cudart.cuModuleGetFunction;
import static org.bytedeco.cuda.global.cudart.cuModuleLoadData;
import static org.bytedeco.cuda.global.cudart.cuModuleUnload;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.cuda.cudart.CUfunc_st;
import org.bytedeco.cuda.cudart.CUmod_st;
import org.bytedeco.javacpp.BytePointer;

/** The kernels of one device, each file compiled and loaded when its first kernel is asked for. */
final class CudaKernels implements AutoCloseable {
    private final KernelCompiler compiler;
    private final Map<String, CUmod_st> modules = new HashMap<>();
    private final Map<String, CUfunc_st> functions = new HashMap<>();

    CudaKernels(KernelCompiler compiler) {
        this.compiler = compiler;
    }

    /** A kernel of a file such as norm.cu. The device must be bound. */
    synchronized CUfunc_st get(String file, String kernel) {
        return functions.computeIfAbsent(file + " " + kernel, key -> {
            CUfunc_st function = new CUfunc_st();
            check("cuModuleGetFunction of " + kernel, cuModuleGetFunction(function, module(file), kernel));
            return function;
        });
    }

    private CUmod_st module(String file) {
        return modules.computeIfAbsent(file, key -> {
            CUmod_st module = new CUmod_st();
            try (BytePointer code = new BytePointer(compiler.code(file))) {
                check("cuModuleLoadData of " + file, cuModuleLoadData(module, code));
            }
            return module;
        });
    }

    @Override
    public synchronized void close() {
        functions.clear();
        modules.values().forEach(module -> check("cuModuleUnload", cuModuleUnload(module)));
        modules.clear();
    }
}
