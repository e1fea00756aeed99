package io.brazier.nn;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.brazier.nn.ParameterSpec.Init;
import io.brazier.tensor.Shape;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

/** The same elements, in fewer and larger reads. */
class ReadAheadTest {
    private static final int ROWS = 3000;
    private static final int COLUMNS = 700;
    private static final List<ParameterSpec> PARAMETERS =
            List.of(parameter("w", ROWS, COLUMNS), parameter("b", COLUMNS));

    private final List<String> reads = new ArrayList<>();

    private static ParameterSpec parameter(String name, long... dims) {
        return new ParameterSpec(name, Shape.of(dims), Init.ZEROS, 0, List.of(), false);
    }

    /** Element e of w is e, of b it is -e. */
    private void count(String parameter, long offset, FloatBuffer target) {
        reads.add(parameter + " " + offset + " " + target.remaining());
        for (long e = offset; target.hasRemaining(); e++) {
            target.put(parameter.equals("w") ? e : -e);
        }
    }

    @Test
    void columnsOfAMatrixAreAFewReads() {
        ReadAhead ahead = new ReadAhead(this::count, PARAMETERS);
        for (int row = 0; row < ROWS; row++) {
            check(ahead, "w", (long) row * COLUMNS + 350, 350, 1);
        }
        check(ahead, "b", 350, 350, -1);
        check(ahead, "w", 350, 350, 1);
        assertEquals(
                List.of("w 350 1048576", "w 1048950 1048576", "w 2097550 2450", "b 350 350", "w 350 1048576"), reads);
    }

    @Test
    void largeRangesAreReadAsTheyAre() {
        ReadAhead ahead = new ReadAhead(this::count, PARAMETERS);
        check(ahead, "w", 5, 1 << 20, 1);
        check(ahead, "w", 5 + (1 << 20), 1000, 1);
        assertEquals(List.of("w 5 1048576", "w 1048581 1048576"), reads.subList(0, 2));
    }

    private static void check(WeightSource source, String parameter, long offset, int count, float sign) {
        FloatBuffer target = FloatBuffer.allocate(count);
        source.read(parameter, offset, target);
        assertEquals(0, target.remaining());
        assertEquals(sign * offset, target.get(0));
        assertEquals(sign * (offset + count - 1), target.get(count - 1));
    }
}
