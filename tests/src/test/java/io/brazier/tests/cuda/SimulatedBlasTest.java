package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cublas.*;
import static org.bytedeco.cuda.global.cudart.*;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.tests.cuda.LtProduct.Matrix;
import java.util.Random;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;

/** The stand-in for cuBLASLt, through the presets, against plain loops in double. */
@Tag("cuda")
class SimulatedBlasTest {
    private static final String[] NONE = {};

    private final Random random = new Random(17);
    private Rank rank;

    @BeforeEach
    void open() {
        rank = new Rank(0);
        Cudasim.takeViolations();
    }

    @AfterEach
    void close() {
        Cudasim.clearFaults();
        rank.close();
    }

    private Matrix random(int type, int rows, int cols, int ld, int batches) {
        return new Matrix(type, rows, cols, ld, batches).random(rank, random);
    }

    private Matrix empty(int type, int rows, int cols) {
        return new Matrix(type, rows, cols, rows, 1).empty(rank);
    }

    /** Relative rounding of the result's type, and room for sums of float in any order. */
    private static double tolerance(int type, double expected, int depth) {
        double rounding =
                type == CUDA_R_32F ? 0 : type == CUDA_R_16BF ? 1.0 / 256 : type == CUDA_R_8F_E4M3 ? 1.0 / 16 : 1.0 / 8;
        return rounding * Math.abs(expected) + 1e-6 * depth + (type == CUDA_R_8F_E4M3 ? 1.0 / 1024 : 0);
    }

    private static void same(double expected, double actual, int type, int depth, String where) {
        assertEquals(expected, actual, tolerance(type, expected, depth), where);
    }

    @Test
    void productsOfEveryTranspositionAgreeWithPlainLoops() {
        int m = 37;
        int n = 29;
        int k = 301;
        for (int type : new int[] {CUDA_R_32F, CUDA_R_16BF}) {
            for (int way = 0; way < 4; way++) {
                LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F).transpose((way & 1) != 0, (way & 2) != 0);
                product.alpha = 0.5f;
                product.beta = way == 3 ? 0 : -2;
                Matrix a = product.transposeA ? random(type, k, m, k + 3, 2) : random(type, m, k, m + 3, 2);
                Matrix b = product.transposeB ? random(type, n, k, n, 2) : random(type, k, n, k, 2);
                Matrix c = random(type, m, n, m + 1, 2);
                Matrix d = new Matrix(type, m, n, m + 5, 2).random(rank, random);
                double[] gaps = d.values.clone();
                assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, b, c, d));
                d.download(rank);
                for (int x = 0; x < d.values.length; x++) {
                    int row = x % d.ld;
                    int col = x / d.ld % n;
                    int batch = x / d.stride();
                    if (row >= m) {
                        assertEquals(gaps[x], d.values[x], "a gap between columns was written");
                    } else {
                        same(
                                product.expected(a, b, c, batch, row, col),
                                d.values[x],
                                type,
                                k,
                                "way " + way + " at " + x);
                    }
                }
                product.close();
            }
        }
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    private static double gelu(double x) {
        return 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x)));
    }

    private static double geluGradient(double x) {
        double h = 1e-5;
        return (gelu(x + h) - gelu(x - h)) / (2 * h);
    }

    @Test
    void epiloguesAddBiasesAndActivate() {
        int m = 24;
        int n = 10;
        int k = 16;
        for (int epilogue : new int[] {
            CUBLASLT_EPILOGUE_BIAS, CUBLASLT_EPILOGUE_RELU_BIAS, CUBLASLT_EPILOGUE_GELU, CUBLASLT_EPILOGUE_GELU_AUX_BIAS
        }) {
            LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F).set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, 4);
            Matrix a = random(CUDA_R_32F, m, k, m, 1);
            Matrix b = random(CUDA_R_32F, k, n, k, 1);
            Matrix bias = random(CUDA_R_32F, m, 1, m, 1);
            Matrix d = empty(CUDA_R_32F, m, n);
            Matrix aux = empty(CUDA_R_32F, m, n);
            boolean biased = (epilogue & CUBLASLT_EPILOGUE_BIAS) != 0;
            boolean keeps = epilogue == CUBLASLT_EPILOGUE_GELU_AUX_BIAS;
            if (biased) {
                product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.buffer);
            }
            if (keeps) {
                product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.buffer)
                        .set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, m, 8);
            }
            assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, b, d, d));
            d.download(rank);
            for (int x = 0; x < m * n; x++) {
                double sum = product.expected(a, b, d, 0, x % m, x / m) + (biased ? bias.values[x % m] : 0);
                double expected = epilogue == CUBLASLT_EPILOGUE_BIAS
                        ? sum
                        : epilogue == CUBLASLT_EPILOGUE_RELU_BIAS ? Math.max(sum, 0) : gelu(sum);
                same(expected, d.values[x], CUDA_R_32F, k, "epilogue " + epilogue);
                aux.values[x] = sum;
            }
            if (keeps) {
                double[] sums = aux.values.clone();
                assertArrayEquals(sums, aux.download(rank).values, 1e-5);
            }
            product.close();
        }
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void gradientsOfActivationsAndBiases() {
        int m = 16;
        int n = 11;
        int k = 9;
        for (int epilogue :
                new int[] {CUBLASLT_EPILOGUE_DGELU_BGRAD, CUBLASLT_EPILOGUE_BGRADA, CUBLASLT_EPILOGUE_BGRADB}) {
            LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F)
                    .transpose(false, true)
                    .set(CUBLASLT_MATMUL_DESC_EPILOGUE, epilogue, 4);
            Matrix a = random(CUDA_R_16BF, m, k, m, 1);
            Matrix b = random(CUDA_R_16BF, n, k, n, 1);
            Matrix aux = random(CUDA_R_32F, m, n, m, 1);
            Matrix d = empty(CUDA_R_32F, m, n);
            Matrix bias = empty(CUDA_R_32F, epilogue == CUBLASLT_EPILOGUE_BGRADB ? n : m, 1);
            product.set(CUBLASLT_MATMUL_DESC_BIAS_POINTER, bias.buffer);
            if (epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD) {
                product.set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_POINTER, aux.buffer)
                        .set(CUBLASLT_MATMUL_DESC_EPILOGUE_AUX_LD, m, 8);
            }
            assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, b, d, d));
            d.download(rank);
            bias.download(rank);
            double[] sums = new double[bias.rows];
            for (int x = 0; x < m * n; x++) {
                double sum = product.expected(a, b, d, 0, x % m, x / m);
                if (epilogue == CUBLASLT_EPILOGUE_DGELU_BGRAD) {
                    sum *= geluGradient(aux.values[x]);
                    sums[x % m] += sum;
                }
                same(sum, d.values[x], CUDA_R_32F, k, "epilogue " + epilogue);
            }
            Matrix summed = epilogue == CUBLASLT_EPILOGUE_BGRADA ? a : b;
            for (int x = 0; epilogue != CUBLASLT_EPILOGUE_DGELU_BGRAD && x < summed.values.length; x++) {
                sums[x % summed.rows] += summed.values[x];
            }
            assertArrayEquals(sums, bias.values, 1e-5);
            product.close();
        }
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void productsOfFp8AreScaledAndTellTheirLargestValue() {
        int m = 32;
        int n = 21;
        int k = 48;
        for (int typeB : new int[] {CUDA_R_8F_E4M3, CUDA_R_8F_E5M2}) {
            LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F).transpose(true, false);
            Matrix a = random(CUDA_R_8F_E4M3, k, m, k, 1);
            Matrix b = random(typeB, k, n, k, 1);
            Matrix c = random(CUDA_R_16BF, m, n, m, 1);
            Matrix d = empty(CUDA_R_8F_E4M3, m, n);
            Pointer amax = rank.empty(4);
            product.set(CUBLASLT_MATMUL_DESC_A_SCALE_POINTER, rank.upload(2f))
                    .set(CUBLASLT_MATMUL_DESC_B_SCALE_POINTER, rank.upload(0.25f))
                    .set(CUBLASLT_MATMUL_DESC_D_SCALE_POINTER, rank.upload(8f))
                    .set(CUBLASLT_MATMUL_DESC_AMAX_D_POINTER, amax);
            product.alpha = 0.5f;
            assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, b, c, d));
            d.download(rank);
            double largest = 0;
            for (int x = 0; x < m * n; x++) {
                double expected = 0.5 * product.expected(a, b, c, 0, x % m, x / m);
                largest = Math.max(largest, Math.abs(expected));
                same(8 * expected, d.values[x], CUDA_R_8F_E4M3, k, "type " + typeB);
            }
            assertEquals(largest, rank.downloadFloats(amax, 1)[0], 1e-4);
            product.close();
        }
        assertArrayEquals(NONE, Cudasim.takeViolations());
    }

    @Test
    void whatTheLibraryDoesNotSupportIsRefused() {
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix fp8 = random(CUDA_R_8F_E4M3, 16, 16, 16, 1);
        Matrix bf16 = random(CUDA_R_16BF, 16, 16, 16, 1);
        Matrix d = empty(CUDA_R_16BF, 16, 16);
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED, product.run(fp8, fp8, d, d), "FP8 without a transposed A");
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED, product.run(fp8, bf16, d, d), "FP8 by bf16");
        product.transpose(true, false);
        Matrix e5m2 = random(CUDA_R_8F_E5M2, 16, 16, 16, 1);
        assertEquals(CUBLAS_STATUS_NOT_SUPPORTED, product.run(e5m2, e5m2, d, d), "two operands in E5M2");
        Matrix narrow = random(CUDA_R_8F_E4M3, 16, 8, 16, 1);
        assertEquals(
                CUBLAS_STATUS_NOT_SUPPORTED,
                product.run(narrow, fp8, empty(CUDA_R_16BF, 8, 16), empty(CUDA_R_16BF, 8, 16)));
        assertEquals(
                CUBLAS_STATUS_INVALID_VALUE,
                product.run(bf16, bf16, empty(CUDA_R_16BF, 8, 16), empty(CUDA_R_16BF, 8, 16)),
                "a result of another shape");
        product.set(CUBLASLT_MATMUL_DESC_EPILOGUE, CUBLASLT_EPILOGUE_BIAS, 4);
        assertEquals(CUBLAS_STATUS_INVALID_VALUE, product.run(bf16, bf16, d, d), "a bias without its pointer");
        assertArrayEquals(NONE, Cudasim.takeViolations());
        product.close();
    }

    @Test
    void aWorkspaceHasToBeAsLargeAsAsked() {
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix a = random(CUDA_R_32F, 8, 256, 8, 1);
        Matrix b = random(CUDA_R_32F, 256, 8, 256, 1);
        Matrix d = empty(CUDA_R_32F, 8, 8);
        product.workspaceBytes = 1 << 20;
        product.workspaceGiven = 16;
        assertEquals(CUBLAS_STATUS_INVALID_VALUE, product.run(a, b, d, d));
        product.workspaceGiven = -1;
        assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, b, d, d));
        same(product.expected(a, b, d, 0, 3, 5), d.download(rank).at(0, 3, 5), CUDA_R_32F, 256, "with a workspace");
        product.close();
    }

    @Test
    void aResultOverAnOperandIsReported() {
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix a = random(CUDA_R_32F, 16, 16, 16, 1);
        assertEquals(CUBLAS_STATUS_INVALID_VALUE, product.run(a, a, a, a));
        assertReported("overlaps");
        product.close();
    }

    /** On a device that no other test uses: it is lost afterwards. */
    @Test
    void aResultBeyondItsAllocationIsReported() {
        rank.close();
        rank = new Rank(8);
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix a = random(CUDA_R_32F, 16, 16, 16, 1);
        Matrix tall = new Matrix(CUDA_R_32F, 16, 16, 16, 1);
        tall.buffer = rank.empty(16 * 15 * 4);
        assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, a, tall, tall));
        assertEquals(CUDA_ERROR_ILLEGAL_ADDRESS, cuStreamSynchronize(rank.stream));
        assertReported("cublasLtMatmul");
        rank = new Rank(0);
    }

    @Test
    void aDescriptorIsNotUsedAfterItsEnd() {
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix a = random(CUDA_R_32F, 16, 16, 16, 1);
        assertEquals(CUBLAS_STATUS_SUCCESS, cublasLtMatmulDescDestroy(product.description));
        Matrix d = empty(CUDA_R_32F, 16, 16);
        assertEquals(CUBLAS_STATUS_INVALID_VALUE, product.run(a, a, d, d));
        assertReported("no living descriptor");
    }

    private static void assertReported(String part) {
        String[] violations = Cudasim.takeViolations();
        assertTrue(violations.length > 0 && violations[0].contains(part), String.join("\n", violations));
    }

    @Test
    void aPlantedErrorComesBack() {
        LtProduct product = new LtProduct(rank, CUBLAS_COMPUTE_32F);
        Matrix a = random(CUDA_R_32F, 16, 16, 16, 1);
        Matrix d = empty(CUDA_R_32F, 16, 16);
        Cudasim.failCall("cublasLtMatmul", 2, CUBLAS_STATUS_EXECUTION_FAILED);
        assertEquals(CUBLAS_STATUS_SUCCESS, product.run(a, a, d, d));
        assertEquals(CUBLAS_STATUS_EXECUTION_FAILED, product.run(a, a, d, d));
        product.close();
    }
}
