package io.brazier.tests.ops;

import static org.junit.jupiter.api.Assertions.assertTrue;

import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.sim.CollectiveCost;
import io.brazier.sim.Hardware;
import io.brazier.sim.OpCost;
import io.brazier.tensor.TensorType;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Every row of the table has a price on the clock. */
class PriceTest {
    private static final List<Integer> TWO_HOSTS =
            IntStream.range(0, 16).boxed().toList();

    static Stream<OpCase> cases() {
        return OpCases.all().stream();
    }

    @ParameterizedTest
    @MethodSource("cases")
    void everyOpHasAPrice(OpCase row) {
        Instruction i =
                new Instruction(row.op(), values(row.types()), values(row.op().infer(row.types())), "row");
        for (String name : List.of("a100", "h100")) {
            Hardware hardware = Hardware.named(name);
            CollectiveCost collectives = new CollectiveCost(hardware);
            double seconds = i.op() instanceof Collective
                    ? collectives.seconds(i, collectives.span(TWO_HOSTS))
                    : new OpCost(hardware, 1).seconds(i);
            // The rows are small: none is worth a hundredth of a second.
            assertTrue(seconds >= 0 && seconds < 0.01, i + " takes " + seconds + " s on " + name);
        }
    }

    private static List<Value> values(List<TensorType> types) {
        List<Value> values = new ArrayList<>();
        types.forEach(type -> values.add(new Value(values.size(), "v" + values.size(), type)));
        return values;
    }
}
