package io.brazier.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class MeshTest {
    private static final Mesh MESH = new Mesh(2, 3, 2, 1, 2);

    @Test
    void membersDifferOnlyInTheAxesOfTheirGroup() {
        for (Group group :
                List.of(Group.of(Axis.TP), Group.of(Axis.DP, Axis.CP), Group.of(Axis.values()), Group.of())) {
            for (int rank = 0; rank < MESH.worldSize(); rank++) {
                int of = rank;
                List<Integer> alike = IntStream.range(0, MESH.worldSize())
                        .filter(other -> Arrays.stream(Axis.values())
                                .filter(axis -> !group.axes().contains(axis))
                                .allMatch(axis -> MESH.coordinate(other, axis) == MESH.coordinate(of, axis)))
                        .boxed()
                        .toList();
                assertEquals(alike, MESH.members(rank, group), group + " of rank " + rank);
                assertEquals(rank, MESH.members(rank, group).get(MESH.coordinate(rank, group)));
            }
        }
    }

    @Test
    void theEndsOfAPipelineAreItsFirstAndLastStage() {
        assertEquals(List.of(0, 8), MESH.members(0, Group.PIPELINE_ENDS));
        assertEquals(List.of(13, 21), MESH.members(21, Group.PIPELINE_ENDS));
        assertEquals(List.of(5), new Mesh(1, 1, 1, 1, 8).members(5, Group.PIPELINE_ENDS));
    }
}
