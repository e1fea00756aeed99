package io.brazier.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Layouts nobody thought of learn what one rank learns. */
class RandomLayoutsTest {
    static Stream<LayoutCase> cases() {
        return Stream.concat(RandomLayouts.first(40, 8, 3), RandomLayouts.withExperts(20, 8, 3));
    }

    @ParameterizedTest
    @MethodSource("cases")
    void matchesOneRank(LayoutCase c) {
        assertEquals(List.of(), c.violations());
        c.assertClose(c.onOneRank().train(), c.train());
    }
}
