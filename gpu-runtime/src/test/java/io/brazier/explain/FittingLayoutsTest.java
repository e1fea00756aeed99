package io.brazier.explain;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.explain.FittingLayouts.Fitting;
import io.brazier.nn.Gpt;
import io.brazier.nn.GptConfig;
import io.brazier.plan.Layout;
import io.brazier.plan.Request;
import java.util.List;
import org.junit.jupiter.api.Test;

/** Which layouts are proposed, and that they fit. */
class FittingLayoutsTest {
    private static final GptConfig MODEL = GptConfig.of(512, 64, 4, 4, 256);
    private static final int ROWS = 16;

    private static FittingLayouts search(Layout layout, long limit) {
        int rows = ROWS / layout.mesh().dp() / 2;
        Request request = new Request(new Gpt(MODEL), layout, 0, rows, 2, 64, 0, 0.1);
        return new FittingLayouts(request, ROWS, true, limit, i -> 0);
    }

    private static long peak(Layout layout) {
        return search(layout, Long.MAX_VALUE).nearest(1).get(0).bytes();
    }

    @Test
    void whatFitsIsTheNearest() {
        Layout plain = Layout.dataParallel(4);
        assertEquals(plain, search(plain, Long.MAX_VALUE).nearest(1).get(0).layout());
    }

    @Test
    void zeroComesBeforeModelParallelism() {
        Layout plain = Layout.dataParallel(4);
        List<Fitting> nearest = search(plain, peak(plain) - 1).nearest(3);
        assertEquals(3, nearest.size());
        assertEquals(plain.withZeroStage(1), nearest.get(0).layout());
        nearest.forEach(fitting -> assertTrue(fitting.bytes() < peak(plain), fitting.toString()));
    }

    @Test
    void tensorParallelismHelpsWhereZeroDoesNot() {
        Layout zero3 = Layout.dataParallel(4).withZeroStage(3).withRecompute(Layout.Recompute.FULL);
        Fitting nearest = search(zero3, peak(zero3) - 1).nearest(1).get(0);
        assertTrue(nearest.layout().mesh().tp() > 1, nearest.toString());
        assertTrue(nearest.layout().sequenceParallel(), nearest.toString());
    }

    @Test
    void nothingIsProposedWhereNothingFits() {
        assertEquals(List.of(), search(Layout.dataParallel(2), 1).nearest(3));
    }
}
