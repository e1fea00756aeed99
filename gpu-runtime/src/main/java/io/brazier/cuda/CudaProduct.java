package io.brazier.cuda;

import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_A_SCALE_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_BIAS_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_B_SCALE_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_EPILOGUE;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_TRANSA;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_DESC_TRANSB;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET;
import static org.bytedeco.cuda.global.cublas.CUBLAS_COMPUTE_32F;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_N;
import static org.bytedeco.cuda.global.cublas.CUBLAS_OP_T;
import static org.bytedeco.cuda.global.cublas.CUBLAS_STATUS_NOT_SUPPORTED;
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

import io.brazier.cuda.ProductShape.Epilogue;
import io.brazier.plan.Slice;
import io.brazier.program.Float8;
import io.brazier.tensor.DType;
import java.util.List;
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
 * One product by cuBLASLt: y = epilogue(op(x) op(w) + addend), sums in f32. cuBLASLt counts columns first, so that it is given
 * y' = op(w)' op(x)', whose columns are y's rows.
 */
final class CudaProduct implements AutoCloseable {

    /** What cuBLASLt may take to split sums: its recommendation for an H100. */
    private static final long MAX_WORKSPACE_BYTES = 32L << 20;

    /** Stands for what has no place yet: a kernel that is chosen without scales, bias or else may not work with them. */
    private static final long SOME_ADDRESS = 256;

    /** What cuBLASLt may assume of addresses; it would take 256 bytes for granted. */
    private static final List<Integer> ALIGNMENTS = List.of(
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_A_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_B_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_C_BYTES,
            CUBLASLT_MATMUL_PREF_MIN_ALIGNMENT_D_BYTES);

    /** Addresses; vector, addend and beside are 0 where the shape has none. */
    record Places(long x, long w, long vector, long addend, long beside, long y, long workspace) {}

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
    private final ProductShape shape;
    private final cublasLtMatmulDescOpaque_t product;
    private final cublasLtMatrixLayoutOpaque_t w;
    private final cublasLtMatrixLayoutOpaque_t x;
    private final cublasLtMatrixLayoutOpaque_t y;
    private final cublasLtMatmulHeuristicResult_t choice = new cublasLtMatmulHeuristicResult_t();
    private final FloatPointer one = new FloatPointer(1f);
    private final FloatPointer beta;
    private final boolean possible;

    CudaProduct(Library library, ProductShape shape) {
        this.library = library;
        this.shape = shape;
        this.beta = new FloatPointer(shape.addend() ? 1f : 0f);
        this.product = describe(shape);
        this.w = shape.transposeW()
                ? matrix(typeOfW(shape), shape.k(), shape.n())
                : matrix(typeOfW(shape), shape.n(), shape.k());
        this.x = shape.transposeX()
                ? matrix(typeOfX(shape), shape.m(), shape.k())
                : matrix(typeOfX(shape), shape.k(), shape.m());
        this.y = matrix(type(shape.output()), shape.n(), shape.m());
        if (shape.eight() != null) {
            scaledBy(SOME_ADDRESS, SOME_ADDRESS);
        }
        if (shape.epilogue() == Epilogue.GELU_GRAD) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, shape.n());
        }
        setPlaces(SOME_ADDRESS, SOME_ADDRESS);
        this.possible = choose();
    }

    private void setPlaces(long vector, long beside) {
        if (shape.epilogue().hasVector()) {
            set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, vector);
        }
        if (shape.epilogue() == Epilogue.GELU_GRAD) {
            set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, beside);
        }
    }

    private static cublasLtMatmulDescOpaque_t describe(ProductShape shape) {
        try (PointerPointer<cublasLtMatmulDescOpaque_t> made = new PointerPointer<>(1)) {
            check("cublasLtMatmulDescCreate", cublasLtMatmulDescCreate(made, CUBLAS_COMPUTE_32F, CUDA_R_32F));
            cublasLtMatmulDescOpaque_t product = made.get(cublasLtMatmulDescOpaque_t.class, 0);
            set(product, CUBLASLT_MATMUL_DESC_TRANSA, shape.transposeW() ? CUBLAS_OP_T : CUBLAS_OP_N);
            set(product, CUBLASLT_MATMUL_DESC_TRANSB, shape.transposeX() ? CUBLAS_OP_T : CUBLAS_OP_N);
            set(product, CUBLASLT_MATMUL_DESC_EPILOGUE, shape.epilogue().code());
            if (shape.epilogue().hasVector()) {
                set(product, CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE, type(shape.vector()));
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

    /** Whether there is a way, and which. */
    private boolean choose() {
        try (PointerPointer<cublasLtMatmulPreferenceOpaque_t> made = new PointerPointer<>(1);
                LongPointer bytes = new LongPointer(new long[] {MAX_WORKSPACE_BYTES});
                IntPointer aligned = new IntPointer(new int[] {(int) Slice.ALIGNMENT})) {
            check("cublasLtMatmulPreferenceCreate", cublasLtMatmulPreferenceCreate(made));
            cublasLtMatmulPreferenceOpaque_t preference = made.get(cublasLtMatmulPreferenceOpaque_t.class, 0);
            prefer(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, bytes, Long.BYTES);
            ALIGNMENTS.forEach(operand -> prefer(preference, operand, aligned, Integer.BYTES));
            int[] found = new int[1];
            int result =
                    cublasLtMatmulAlgoGetHeuristic(library.handle, product, w, x, y, y, preference, 1, choice, found);
            check("cublasLtMatmulPreferenceDestroy", cublasLtMatmulPreferenceDestroy(preference));
            if (result != CUBLAS_STATUS_NOT_SUPPORTED) {
                check("cublasLtMatmulAlgoGetHeuristic for " + shape, result);
            }
            return result == CUBLAS_STATUS_SUCCESS && found[0] > 0;
        }
    }

    private static void prefer(cublasLtMatmulPreferenceOpaque_t preference, int attribute, Pointer value, long bytes) {
        check(
                "cublasLtMatmulPreferenceSetAttribute",
                cublasLtMatmulPreferenceSetAttribute(preference, attribute, value, bytes));
    }

    /** Whether cuBLASLt knows a way to compute this. */
    boolean isPossible() {
        return possible;
    }

    long workspaceBytes() {
        return choice.workspaceSize();
    }

    /** What computes y from operands at fixed addresses. */
    Runnable at(Places at, CUstream_st stream) {
        setPlaces(at.vector(), at.beside());
        Pointer a = DevicePointer.at(at.w());
        Pointer b = DevicePointer.at(at.x());
        Pointer d = DevicePointer.at(at.y());
        Pointer c = shape.addend() ? DevicePointer.at(at.addend()) : d;
        Pointer scratch = DevicePointer.at(at.workspace());
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

    private void set(int attribute, long value) {
        try (LongPointer v = new LongPointer(new long[] {value})) {
            check("cublasLtMatmulDescSetAttribute", cublasLtMatmulDescSetAttribute(product, attribute, v, Long.BYTES));
        }
    }

    private static int typeOfX(ProductShape shape) {
        return shape.eight() == null ? type(shape.input()) : type(shape.eight().x());
    }

    private static int typeOfW(ProductShape shape) {
        return shape.eight() == null ? type(shape.input()) : type(shape.eight().w());
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
