package io.brazier.tests.cuda;

import static org.bytedeco.cuda.global.cudart.*;

import java.nio.ByteBuffer;
import java.util.Random;

/** What the bits of CUDA's element types stand for, from the formats' definitions. */
final class SmallFloats {
    private SmallFloats() {}

    static int bytes(int type) {
        switch (type) {
            case CUDA_R_32F:
                return 4;
            case CUDA_R_16BF:
                return 2;
            default:
                return 1;
        }
    }

    /** Appends the bits of a random number in (-1, 1); returns the number. */
    static double put(int type, ByteBuffer bytes, Random random) {
        if (type == CUDA_R_32F) {
            float value = 2 * random.nextFloat() - 1;
            bytes.putFloat(value);
            return value;
        }
        if (type == CUDA_R_16BF) {
            short bits = (short) (Float.floatToIntBits(2 * random.nextFloat() - 1) >> 16);
            bytes.putShort(bits);
            return Float.intBitsToFloat(bits << 16);
        }
        int one = type == CUDA_R_8F_E4M3 ? 7 << 3 : 15 << 2;
        byte code = (byte) (random.nextInt(one) | (random.nextBoolean() ? 0x80 : 0));
        bytes.put(code);
        return fp8(type, code);
    }

    static double get(int type, ByteBuffer bytes, int index) {
        switch (type) {
            case CUDA_R_32F:
                return bytes.getFloat(4 * index);
            case CUDA_R_16BF:
                return Float.intBitsToFloat(bytes.getShort(2 * index) << 16);
            default:
                return fp8(type, bytes.get(index));
        }
    }

    private static double fp8(int type, byte code) {
        int mantissaBits = type == CUDA_R_8F_E4M3 ? 3 : 2;
        int bias = type == CUDA_R_8F_E4M3 ? 7 : 15;
        int exponent = (code & 0x7f) >> mantissaBits;
        double fraction = (code & (1 << mantissaBits) - 1) / (double) (1 << mantissaBits);
        double size = exponent == 0 ? fraction * Math.pow(2, 1 - bias) : (1 + fraction) * Math.pow(2, exponent - bias);
        return code < 0 ? -size : size;
    }
}
