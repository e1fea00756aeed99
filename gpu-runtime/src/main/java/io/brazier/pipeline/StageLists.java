package io.brazier.pipeline;

import io.brazier.pipeline.Action.Phase;
import java.util.HashSet;
import java.util.List;
import java.util.Set;

/** What must hold of the lists of stages before anything is derived from them. */
final class StageLists {
    private StageLists() {}

    static int numChunks(List<List<Action>> stages) {
        return 1
                + stages.stream()
                        .flatMap(List::stream)
                        .mapToInt(Action::chunk)
                        .max()
                        .orElse(-1);
    }

    static int numMicroBatches(List<List<Action>> stages) {
        return 1
                + stages.stream()
                        .flatMap(List::stream)
                        .mapToInt(Action::microBatch)
                        .max()
                        .orElse(-1);
    }

    /**
     * Each stage has for every micro-batch on every chunk one forward before one backward, whole or in two, and ends in its only
     * update.
     */
    static void check(List<List<Action>> stages) {
        int numChunks = numChunks(stages);
        int numMicroBatches = numMicroBatches(stages);
        for (int stage = 0; stage < stages.size(); stage++) {
            Set<Action> seen = new HashSet<>();
            boolean updated = false;
            for (Action action : stages.get(stage)) {
                require(!updated, stage, action + " comes after the update");
                updated = action.phase() == Phase.UPDATE;
                require(seen.add(action), stage, action + " comes twice");
                order(stage, seen, action);
            }
            for (int chunk = 0; chunk < numChunks; chunk++) {
                for (int x = 0; x < numMicroBatches; x++) {
                    Action backward = new Action(Phase.BACKWARD, chunk, x);
                    boolean whole = seen.contains(backward);
                    require(
                            whole || seen.contains(action(Phase.BACKWARD_WEIGHT, backward)),
                            stage,
                            "micro-batch " + x + " of chunk " + chunk + " has no complete backward");
                }
            }
            require(updated, stage, "the list does not end in an update");
        }
    }

    private static void order(int stage, Set<Action> seen, Action action) {
        boolean whole = seen.contains(action(Phase.BACKWARD, action));
        boolean half = seen.contains(action(Phase.BACKWARD_INPUT, action));
        switch (action.phase()) {
            case FORWARD -> {}
            case BACKWARD, BACKWARD_INPUT -> {
                require(seen.contains(action(Phase.FORWARD, action)), stage, action + " comes before its forward");
                require(!(whole && half), stage, action + " is a second backward of its micro-batch");
            }
            case BACKWARD_WEIGHT -> require(half, stage, action + " comes before its input gradient");
            case UPDATE -> {}
        }
    }

    private static Action action(Phase phase, Action like) {
        return new Action(phase, like.chunk(), like.microBatch());
    }

    private static void require(boolean holds, int stage, String message) {
        if (!holds) {
            throw new IllegalArgumentException("schedule, stage " + stage + ": " + message);
        }
    }
}
