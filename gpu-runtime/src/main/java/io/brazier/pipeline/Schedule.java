package io.brazier.pipeline;

import io.brazier.pipeline.Action.Phase;
import java.util.ArrayList;
import java.util.List;

/** Schedules are lists; what they cost is derived from them. */
public final class Schedule {
    private Schedule() {}

    /** Gradient accumulation on one stage: F0 B0 F1 B1 … U. One micro-batch is stashed at a time. */
    public static List<Action> accumulate(int numMicroBatches) {
        List<Action> actions = new ArrayList<>();
        for (int x = 0; x < numMicroBatches; x++) {
            actions.add(new Action(Phase.FORWARD, x));
            actions.add(new Action(Phase.BACKWARD, x));
        }
        actions.add(new Action(Phase.UPDATE, numMicroBatches - 1));
        return actions;
    }
}
