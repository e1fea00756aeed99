package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.*;
import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.Random;
import org.bytedeco.cuda.cublas.cublasLtContext;
import org.bytedeco.cuda.cublas.cublasLtMatmulAlgo_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulDescOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulHeuristicResult_t;
import org.bytedeco.cuda.cublas.cublasLtMatmulPreferenceOpaque_t;
import org.bytedeco.cuda.cublas.cublasLtMatrixLayoutOpaque_t;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerPointer;

/** D = epilogue(alpha op(A) op(B) + beta C) by cuBLASLt, with random operands whose values the test knows exactly. */
final class LtProduct {
    /** A matrix on the device, column-major, and what it holds. */
    static final class Matrix {
        final int type;
        final int rows;
        final int cols;
        final int ld;
        final int batches;
        final double[] values;
        Pointer buffer;

        Matrix(int type, int rows, int cols, int ld, int batches) {
            this.type = type;
            this.rows = rows;
            this.cols = cols;
            this.ld = ld;
            this.batches = batches;
            this.values = new double[ld * cols * batches];
        }

        int stride() {
            return ld * cols;
        }

        double at(int batch, int row, int col) {
            return values[batch * stride() + col * ld + row];
        }

        int bytes() {
            return values.length * SmallFloats.bytes(type);
        }

        Matrix random(Rank rank, Random random) {
            ByteBuffer bytes = ByteBuffer.allocate(bytes()).order(ByteOrder.nativeOrder());
            for (int x = 0; x < values.length; x++) {
                values[x] = SmallFloats.put(type, bytes, random);
            }
            buffer = rank.upload(bytes);
            return this;
        }

        Matrix empty(Rank rank) {
            buffer = rank.empty(bytes());
            return this;
        }

        /** Reads the device's values back; only those inside the matrix may be looked at where ld is larger than rows. */
        Matrix download(Rank rank) {
            ByteBuffer bytes = rank.download(buffer, bytes());
            for (int x = 0; x < values.length; x++) {
                values[x] = SmallFloats.get(type, bytes, x);
            }
            return this;
        }
    }

    private final Rank rank;
    private final cublasLtContext handle = new cublasLtContext();
    final cublasLtMatmulDescOpaque_t description;
    boolean transposeA;
    boolean transposeB;
    float alpha = 1;
    float beta;
    long workspaceBytes;
    long workspaceGiven = -1;
    int numAlgorithms = -1;

    LtProduct(Rank rank, int compute) {
        this.rank = rank;
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtCreate(handle));
        PointerPointer<cublasLtMatmulDescOpaque_t> made = new PointerPointer<>(1);
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulDescCreate(made, compute, CUDA_R_32F));
        description = made.get(cublasLtMatmulDescOpaque_t.class);
    }

    LtProduct set(int attribute, long value, int bytes) {
        try (BytePointer holder = new BytePointer(8)) {
            holder.putLong(value);
            assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulDescSetAttribute(description, attribute, holder, bytes));
        }
        return this;
    }

    LtProduct set(int attribute, Pointer device) {
        return set(attribute, device.address(), 8);
    }

    LtProduct transpose(boolean a, boolean b) {
        transposeA = a;
        transposeB = b;
        return set(CUBLASLT_MATMUL_DESC_TRANSA, a ? CUBLAS_OP_T : CUBLAS_OP_N, 4)
                .set(CUBLASLT_MATMUL_DESC_TRANSB, b ? CUBLAS_OP_T : CUBLAS_OP_N, 4);
    }

    static cublasLtMatrixLayoutOpaque_t layout(Matrix matrix) {
        PointerPointer<cublasLtMatrixLayoutOpaque_t> made = new PointerPointer<>(1);
        assertEquals(
                CUBLAS_STATUS_SUCCESS,
                cublasLtMatrixLayoutCreate(made, matrix.type, matrix.rows, matrix.cols, matrix.ld));
        cublasLtMatrixLayoutOpaque_t layout = made.get(cublasLtMatrixLayoutOpaque_t.class);
        try (BytePointer value = new BytePointer(8)) {
            value.putLong(matrix.batches);
            cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT, value, 4);
            value.putLong(matrix.stride());
            cublasLtMatrixLayoutSetAttribute(layout, CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET, value, 8);
        }
        return layout;
    }

    /** Chooses an algorithm and runs it; the status of what fails first. */
    int run(Matrix a, Matrix b, Matrix c, Matrix d) {
        cublasLtMatrixLayoutOpaque_t[] layouts = {layout(a), layout(b), layout(c), layout(d)};
        PointerPointer<cublasLtMatmulPreferenceOpaque_t> made = new PointerPointer<>(1);
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulPreferenceCreate(made));
        cublasLtMatmulPreferenceOpaque_t preference = made.get(cublasLtMatmulPreferenceOpaque_t.class);
        try (cublasLtMatmulHeuristicResult_t found = new cublasLtMatmulHeuristicResult_t();
                BytePointer value = new BytePointer(8)) {
            value.putLong(workspaceBytes);
            cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES, value, 8);
            int[] count = new int[1];
            int status = cublasLtMatmulAlgoGetHeuristic(
                    handle, description, layouts[0], layouts[1], layouts[2], layouts[3], preference, 1, found, count);
            numAlgorithms = count[0];
            return status != CUBLAS_STATUS_SUCCESS
                    ? status
                    : multiply(layouts, a, b, c, d, found.algo(), found.workspaceSize());
        } finally {
            assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulPreferenceDestroy(preference));
            for (cublasLtMatrixLayoutOpaque_t layout : layouts) {
                assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatrixLayoutDestroy(layout));
            }
        }
    }

    private int multiply(
            cublasLtMatrixLayoutOpaque_t[] layouts,
            Matrix a,
            Matrix b,
            Matrix c,
            Matrix d,
            cublasLtMatmulAlgo_t algorithm,
            long needed) {
        long given = workspaceGiven < 0 ? needed : workspaceGiven;
        Pointer workspace = given == 0 ? new Pointer() : rank.empty(given);
        try (BytePointer scalars = new BytePointer(8)) {
            scalars.asByteBuffer()
                    .order(ByteOrder.nativeOrder())
                    .putFloat(alpha)
                    .putFloat(beta);
            return cublasLtMatmul(
                    handle,
                    description,
                    scalars,
                    a.buffer,
                    layouts[0],
                    b.buffer,
                    layouts[1],
                    Rank.at(scalars.address() + 4),
                    c.buffer,
                    layouts[2],
                    d.buffer,
                    layouts[3],
                    algorithm,
                    workspace,
                    given,
                    rank.stream);
        }
    }

    /** alpha op(A) op(B) + beta C at one place, in double. */
    double expected(Matrix a, Matrix b, Matrix c, int batch, int row, int col) {
        int depth = transposeA ? a.rows : a.cols;
        double sum = 0;
        for (int x = 0; x < depth; x++) {
            sum += (transposeA ? a.at(batch, x, row) : a.at(batch, row, x))
                    * (transposeB ? b.at(batch, col, x) : b.at(batch, x, col));
        }
        return alpha * sum + (beta == 0 ? 0 : beta * c.at(batch, row, col));
    }

    void close() {
        rank.synchronize();
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulDescDestroy(description));
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtDestroy(handle));
    }
}
