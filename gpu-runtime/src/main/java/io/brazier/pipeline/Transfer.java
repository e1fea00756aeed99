package io.brazier.pipeline;

import io.brazier.pipeline.Action.Phase;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A message between neighbouring virtual stages: an activation to the next one, or its gradient to the one before.
 *
 * @param fromStage, fromChunk whose output it is
 * @param toStage, toChunk whose input it is
 */
public record Transfer(Payload payload, int fromStage, int fromChunk, int toStage, int toChunk, int microBatch) {

    public enum Payload {
        ACTIVATION,
        GRADIENT
    }

    /** What the action waits for; empty on the first virtual stage's forward and the last one's backward. */
    public static Optional<Transfer> before(Action action, int stage, int numStages, int numChunks) {
        int virtual = action.chunk() * numStages + stage;
        if (action.phase() == Phase.FORWARD) {
            return between(Payload.ACTIVATION, virtual - 1, virtual, numStages, numChunks, action.microBatch());
        }
        return action.phase().makesInputGradient()
                ? between(Payload.GRADIENT, virtual + 1, virtual, numStages, numChunks, action.microBatch())
                : Optional.empty();
    }

    /** What the action produces for a neighbour; empty on the last virtual stage's forward and the first one's backward. */
    public static Optional<Transfer> after(Action action, int stage, int numStages, int numChunks) {
        int virtual = action.chunk() * numStages + stage;
        if (action.phase() == Phase.FORWARD) {
            return between(Payload.ACTIVATION, virtual, virtual + 1, numStages, numChunks, action.microBatch());
        }
        return action.phase().makesInputGradient()
                ? between(Payload.GRADIENT, virtual, virtual - 1, numStages, numChunks, action.microBatch())
                : Optional.empty();
    }

    /**
     * The messages from one stage to another, in the order in which one sends and the other receives them.
     *
     * @throws IllegalArgumentException when the stages' lists order them differently
     */
    public static List<Transfer> channel(List<List<Action>> stages, int from, int to) {
        int numChunks = StageLists.numChunks(stages);
        List<Transfer> sent = new ArrayList<>();
        stages.get(from).forEach(a -> after(a, from, stages.size(), numChunks)
                .filter(t -> t.toStage() == to)
                .ifPresent(sent::add));
        List<Transfer> received = new ArrayList<>();
        stages.get(to).forEach(a -> before(a, to, stages.size(), numChunks)
                .filter(t -> t.fromStage() == from)
                .ifPresent(received::add));
        for (int x = 0; x < Math.max(sent.size(), received.size()); x++) {
            Object first = x < sent.size() ? sent.get(x) : "nothing";
            Object second = x < received.size() ? received.get(x) : "nothing";
            if (!first.equals(second)) {
                throw new IllegalArgumentException("schedule: message " + x + " of stage " + from + " to stage " + to
                        + " is " + first + ", but the receiver expects " + second);
            }
        }
        return List.copyOf(sent);
    }

    /** For example activation 3 from stage 1 to stage 0, chunk 1. */
    @Override
    public String toString() {
        return (payload == Payload.ACTIVATION ? "activation " : "gradient ") + microBatch + " from stage " + fromStage
                + (fromChunk == 0 ? "" : ", chunk " + fromChunk + ",") + " to stage " + toStage
                + (toChunk == 0 ? "" : ", chunk " + toChunk);
    }

    private static Optional<Transfer> between(
            Payload payload, int from, int to, int numStages, int numChunks, int microBatch) {
        int count = numStages * numChunks;
        return from < 0 || to < 0 || from >= count || to >= count
                ? Optional.empty()
                : Optional.of(new Transfer(
                        payload, from % numStages, from / numStages, to % numStages, to / numStages, microBatch));
    }
}
