package io.brazier.cuda;

import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_BIAS;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_DEFAULT;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_GELU;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_GELU_BIAS;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_BIAS_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_EPILOGUE;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_TRANSA;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_TRANSB;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET;
import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_32F;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_N;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_T;
import static org.bytedeco.cuda.global.cublas.CUBLAS_STATUS_SUCCESS;
import static org.bytedeco.cuda.global.cublas.cublasLtCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtDestroy;
import static org.bytedeco.cuda.global.cublas.cublasLtGetStatusString;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmul;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulAlgoGetHeuristic;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulDescCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulDescDestroy;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulDescSetAttribute;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulPreferenceCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulPreferenceDestroy;
import static org.bytedeco.cuda.global.cublas.cublasLtMatmulPreferenceSetAttribute;
import static org.bytedeco.cuda.global.cublas.cublasLtMatrixLayoutCreate;
import static org.bytedeco.cuda.global.cublas.cublasLtMatrixLayoutDestroy;
import static org.bytedeco.cuda.global.cublas.cublasLtMatrixLayoutSetAttribute;
import static org.bytedeco.cuda.global.cudart.CUDA_R_16BF;
import static org.bytedeco.cuda.global.cudart.CUDA_R_32F;
import static org.bytedeco.cuda.global.cudart.CUDA_R_8F_E4M3;
import static org.bytedeco.cuda.global.cudart.CUDA_R_8F_E5M2;

import io.brazier.program.Float8;
import io.brazier.tensor.DType;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulPreferenceOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatrixLayoutOpaque_t;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/**
 * One product by cuBLASLt: y = activation(op(x) op(w) + addend + bias), sums in f32. cuBLASLt counts columns first, so that it is given
 * y' = op(w)' op(x)', whose columns are y's rows.
 */
final class CudaProduct implements AutoCloseable {

    /** What cuBLASLt may take to split sums: its recommendation for an H100. */
    private static final long MAX_WORKSPACE_BYTES = 32L << 20;

    /** Stands for scales whose place is not known yet: a kernel that is chosen without scales may not work with them. */
    private static final long SOME_ADDRESS = 256;

    /**
     * What is multiplied: batch times y [m, n], contracting k.
     *
     * @param transposeX, transposeW whether x is [k, m], w is [n, k]
     * @param bias type of the bias, null for none
     * @param eight what x and w are instead of input, null for none; then x is [m, k] and w is [n, k]
     */
    record Shape(
            long batch,
            long m,
            long n,
            long k,
            boolean transposeX,
            boolean transposeW,
            DType input,
            DType output,
            DType bias,
            boolean addend,
            boolean gelu,
            EightBits eight) {

        private int typeOfX() {
            return eight == null ? type(input) : type(eight.x());
        }

        private int typeOfW() {
            return eight == null ? type(input) : type(eight.w());
        }
    }

    /** Operands of eight bits. */
    record EightBits(Float8 x, Float8 w) {}

    /** cuBLASLt for one device. */
    static final class Library implements AutoCloseable {
        private final cublasLtContext handle = new cublasLtContext();

        Library() {
            check("cublasLtCreate", cublasLtCreate(handle));
        }

        @Override
        public void close() {
            check("cublasLtDestroy", cublasLtDestroy(handle));
        }
    }

    private final Library library;
    private final Shape shape;
    private final cublasLtMatmulDescOpaque_t product;
    private final cublasLtMatrixLayoutOpaque_t w;
    private final cublasLtMatrixLayoutOpaque_t x;
    private final cublasLtMatrixLayoutOpaque_t y;
    private final cublasLtMatmulHeuristicResult_t choice = new cublasLtMatmulHeuristicResult_t();
    private final FloatPointer one = new FloatPointer(1f);
    private final FloatPointer beta;

    CudaProduct(Library library, Shape shape) {
        this.library = library;
        this.shape = shape;
        this.beta = new FloatPointer(shape.addend() ? 1f : 0f);
        this.product = describe(shape);
        this.w = shape.transposeW()
                ? matrix(shape.typeOfW(), shape.k(), shape.n())
                : matrix(shape.typeOfW(), shape.n(), shape.k());
        this.x = shape.transposeX()
                ? matrix(shape.typeOfX(), shape.m(), shape.k())
                : matrix(shape.typeOfX(), shape.k(), shape.m());
        this.y = matrix(type(shape.output()), shape.n(), shape.m());
        if (shape.eight() != null) {
            scaledBy(SOME_ADDRESS, SOME_ADDRESS);
        }
        choose();
    }

    private static cublasLtMatmulDescOpaque_t describe(Shape shape) {
        try (PointerPointer<cublasLtMatmulDescOpaque_t> made = new PointerPointer<>(1)) {
            check("cublasLtMatmulDescCreate", cublasLtMatmulDescCreate(made, CUBLAS_COMPUTE_32F, CUDA_R_32F));
            cublasLtMatmulDescOpaque_t product = made.get(cublasLtMatmulDescOpaque_t.class, 0);
            set(product, CUBLASLT_MATMUL_DESC_TRANSA, shape.transposeW() ? CUBLAS_OP_T : CUBLAS_OP_N);
            set(product, CUBLASLT_MATMUL_DESC_TRANSB, shape.transposeX() ? CUBLAS_OP_T : CUBLAS_OP_N);
            if (shape.bias() != null) {
                set(
                        product,
                        CUBLASLT_MATMUL_DESC_EPILOGUE,
                        shape.gelu() ? CUBLASLT_EPILOGUE_GELU_BIAS : CUBLASLT_EPILOGUE_BIAS);
                set(product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type(shape.bias()));
            } else {
                set(
                        product,
                        CUBLASLT_MATMUL_DESC_EPILOGUE,
                        shape.gelu() ? CUBLASLT_EPILOGUE_GELU : CUBLASLT_EPILOGUE_DEFAULT);
            }
            return product;
        }
    }

    private static void set(cublasLtMatmulDescOpaque_t product, int attribute, int value) {
        try (IntPointer v = new IntPointer(new int[] {value})) {
            check(
                    "cublasLtMatmulDescSetAttribute",
                    cublasLtMatmulDescSetAttribute(product, attribute, v, Integer.BYTES));
        }
    }

    /** Columns first: rows x columns, each column's elements side by side. */
    private cublasLtMatrixLayoutOpaque_t matrix(int type, long rows, long columns) {
        try (PointerPointer<cublasLtMatrixLayoutOpaque_t> made = new PointerPointer<>(1)) {
            check("cublasLtMatrixLayoutCreate", cublasLtMatrixLayoutCreate(made, type, rows, columns, rows));
            cublasLtMatrixLayoutOpaque_t matrix = made.get(cublasLtMatrixLayoutOpaque_t.class, 0);
            if (shape.batch() > 1) {
                try (IntPointer count = new IntPointer(new int[] {Math.toIntExact(shape.batch())});
                        LongPointer stride = new LongPointer(new long[] {rows * columns})) {
                    check(
                            "cublasLtMatrixLayoutSetAttribute",
                            cublasLtMatrixLayoutSetAttribute(
                                    matrix, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, count, Integer.BYTES));
                    check(
                            "cublasLtMatrixLayoutSetAttribute",
                            cublasLtMatrixLayoutSetAttribute(
                                    matrix, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, stride, Long.BYTES));
                }
            }
            return matrix;
        }
    }

    private void choose() {
        try (PointerPointer<cublasLtMatmulPreferenceOpaque_t> made = new PointerPointer<>(1);
                LongPointer bytes = new LongPointer(new long[] {MAX_WORKSPACE_BYTES})) {
            check("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(made));
            cublasLtMatmulPreferenceOpaque_t preference = made.get(cublasLtMatmulPreferenceOpaque_t.class, 0);
            check(
                    "cublasLtMatmulPreferenceSetAttribute",
                    cublasLtMatmulPreferenceSetAttribute(
                            preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes, Long.BYTES));
            int[] found = new int[1];
            int result =
                    cublasLtMatmulAlgoGetHeuristic(library.handle, product, w, x, y, y, preference, 1, choice, found);
            check("cublasLtMatmulAlgoGetHeuristic for " + shape, result);
            check("cublasLtMatmulPreferenceDestroy", cublasLtMatmulPreferenceDestroy(preference));
            if (found[0] == 0) {
                throw new CudaException("cublasLtMatmulAlgoGetHeuristic", 0, "cuBLASLt knows no way for " + shape);
            }
        }
    }

    long workspaceBytes() {
        return choice.workspaceSize();
    }

    /** What computes y from operands at fixed addresses; bias and addend are 0 where the shape has none. */
    Runnable at(long xAt, long wAt, long biasAt, long addendAt, long yAt, long workspace, CUstream_st stream) {
        if (shape.bias() != null) {
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, biasAt);
        }
        Pointer a = DevicePointer.at(wAt);
        Pointer b = DevicePointer.at(xAt);
        Pointer d = DevicePointer.at(yAt);
        Pointer c = shape.addend() ? DevicePointer.at(addendAt) : d;
        Pointer scratch = DevicePointer.at(workspace);
        return () -> check(
                "cublasLtMatmul",
                cublasLtMatmul(
                        library.handle,
                        product,
                        one,
                        a,
                        w,
                        b,
                        x,
                        beta,
                        c,
                        y,
                        d,
                        y,
                        choice.algo(),
                        scratch,
                        choice.workspaceSize(),
                        stream));
    }

    /** Multiplies x and w by one f32 each, which lie on the device. */
    CudaProduct scaledBy(long xFactorAt, long wFactorAt) {
        set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, wFactorAt);
        set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, xFactorAt);
        return this;
    }

    private void set(int attribute, long address) {
        try (LongPointer at = new LongPointer(new long[] {address})) {
            check("cublasLtMatmulDescSetAttribute", cublasLtMatmulDescSetAttribute(product, attribute, at, Long.BYTES));
        }
    }

    private static int type(Float8 type) {
        return switch (type) {
            case E4M3 -> CUDA_R_8F_E4M3;
            case E5M2 -> CUDA_R_8F_E5M2;
        };
    }

    private static int type(DType type) {
        return switch (type) {
            case F32 -> CUDA_R_32F;
            case BF16 -> CUDA_R_16BF;
            case F64, I32, I64 -> throw new IllegalArgumentException("no product of " + type);
        };
    }

    private static void check(String call, int result) {
        if (result != CUBLAS_STATUS_SUCCESS) {
            throw new CudaException(
                    call, result, cublasLtGetStatusString(result).getString());
        }
    }

    @Override
    public void close() {
        check("cublasLtMatmulDescDestroy", cublasLtMatmulDescDestroy(product));
        check("cublasLtMatrixLayoutDestroy", cublasLtMatrixLayoutDestroy(w));
        check("cublasLtMatrixLayoutDestroy", cublasLtMatrixLayoutDestroy(x));
        check("cublasLtMatrixLayoutDestroy", cublasLtMatrixLayoutDestroy(y));
    }
}
