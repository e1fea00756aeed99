package io.brazier.cpu;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.nio.ByteBuffer;
import org.junit.jupiter.api.Test;

class CpuBrainFloatTest {
    /** f32 bits and what they round to: ties to even, carries, denormals, overflow, infinities, NaN whose payload is low. */
    private static final int[][] ROUNDED = {
        {0, 0},
        {0x80000000, 0x8000},
        {0x3F800000, 0x3F80},
        {0x3F808000, 0x3F80},
        {0x3F808001, 0x3F81},
        {0x3F818000, 0x3F82},
        {0x3FFFFFFF, 0x4000},
        {0x00000001, 0},
        {0x00008001, 0x0001},
        {0x807FFFFF, 0x8080},
        {0x7F7FFFFF, 0x7F80},
        {0x7F800000, 0x7F80},
        {0xFF800000, 0xFF80},
        {0x7F800001, 0x7FC0},
        {0xFFFFFFFF, 0xFFFF},
    };

    @Test
    void roundsToNearestEvenAndWidensExactly() {
        CpuNative.setNumThreads(2);
        int count = 40_003;
        long x = CpuNative.allocate(4L * count);
        long y = CpuNative.allocate(2L * count);
        ByteBuffer wide = CpuNative.wrap(x, 4 * count);
        ByteBuffer narrow = CpuNative.wrap(y, 2 * count);
        for (int i = 0; i < count; i++) {
            wide.putInt(4 * i, ROUNDED[i % ROUNDED.length][0]);
        }
        CpuBrainFloat.toBrainFloat(x, y, count);
        CpuBrainFloat.fromBrainFloat(y, x, count);
        for (int i = 0; i < count; i++) {
            int expected = ROUNDED[i % ROUNDED.length][1];
            assertEquals(expected, narrow.getShort(2 * i) & 0xFFFF, "element " + i);
            assertEquals(expected << 16, wide.getInt(4 * i), "element " + i);
        }
        CpuNative.free(x, 4L * count);
        CpuNative.free(y, 2L * count);
    }
}
