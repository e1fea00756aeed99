package io.brazier.cuda;

import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_BGRADA;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_BIAS;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_DEFAULT;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_DGELU;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_GELU;
import static org.bytedeco.cuda.global.cublas.CUBLASLT_EPILOGUE_GELU_BIAS;

import io.brazier.program.Float8;
import io.brazier.program.Matrix.Activation;
import io.brazier.program.Matrix.MatMul;
import io.brazier.program.Matrix.Operand;
import io.brazier.tensor.DType;

/**
 * What cuBLASLt multiplies: batch times y [m, n] = epilogue(op(x) op(w) + addend), contracting k.
 *
 * @param transposeX, transposeW whether x is [k, m], w is [n, k]
 * @param vector type of the epilogue's vector, null for none
 * @param eight what x and w are instead of input, null for none; then x is [m, k] and w is [n, k]
 */
record ProductShape(
        long batch,
        long m,
        long n,
        long k,
        boolean transposeX,
        boolean transposeW,
        DType input,
        DType output,
        boolean addend,
        Epilogue epilogue,
        DType vector,
        EightBits eight) {

    /** What is done to the sum, or beside it. vector is [n]. */
    enum Epilogue {
        NONE(CUBLASLT_EPILOGUE_DEFAULT),
        /** y + vector. */
        BIAS(CUBLASLT_EPILOGUE_BIAS),
        /** gelu(y). */
        GELU(CUBLASLT_EPILOGUE_GELU),
        /** gelu(y + vector). */
        GELU_BIAS(CUBLASLT_EPILOGUE_GELU_BIAS),
        /** y gelu'(beside), where beside is like y. */
        GELU_GRAD(CUBLASLT_EPILOGUE_DGELU),
        /** vector receives the sums of op(w) over k. */
        BIAS_GRAD(CUBLASLT_EPILOGUE_BGRADA);

        private final int code;

        Epilogue(int code) {
            this.code = code;
        }

        /** What a product of the forward kind does. */
        static Epilogue of(MatMul op) {
            boolean gelu = op.activation() == Activation.GELU_TANH;
            if (op.bias() == Operand.PRESENT) {
                return gelu ? GELU_BIAS : BIAS;
            }
            return gelu ? GELU : NONE;
        }

        /** cuBLASLt's number. */
        int code() {
            return code;
        }

        boolean hasVector() {
            return this == BIAS || this == GELU_BIAS || this == BIAS_GRAD;
        }
    }

    /** Operands of eight bits. */
    record EightBits(Float8 x, Float8 w) {}
}
