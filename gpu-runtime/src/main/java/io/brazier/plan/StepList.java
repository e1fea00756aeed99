package io.brazier.plan;

import io.brazier.pipeline.Action;
import io.brazier.pipeline.Slots;
import io.brazier.plan.RankPlan.AwaitTransfer;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.RankPlan.StartTransfer;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer;
import io.brazier.plan.RankPlan.Transfer.Direction;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;

/**
 * Turns a stage's actions into launches and the transfers between them. What an action receives is asked for before the action
 * ahead of it runs, and what it sends leaves while later ones run. Hidden states arrive in an inbox, because the slot they will
 * use may still be busy; their gradients arrive at once in their slot, where the hidden states were that they belong to.
 */
final class StepList {
    /** Segments behind the last action. */
    private static final List<String> ENDING = List.of(
            TrainingPlan.FINISH, TrainingPlan.NORM, TrainingPlan.SCALES, TrainingPlan.UPDATE, TrainingPlan.PUBLISH);

    private final List<Action> actions;
    private final Slots slots;
    private final List<ChunkPlanner> chunks;
    private final Map<Integer, Slice> inboxes;
    private final int numStages;
    private final Set<String> segments;
    private final List<Step> steps = new ArrayList<>();
    private final Map<String, Transfer> sending = new HashMap<>();

    /** @param segments that the rank has */
    StepList(
            List<Action> actions,
            List<ChunkPlanner> chunks,
            Map<Integer, Slice> inboxes,
            int numStages,
            Set<String> segments) {
        this.actions = actions;
        this.slots = Slots.of(actions);
        this.chunks = chunks;
        this.inboxes = inboxes;
        this.numStages = numStages;
        this.segments = segments;
    }

    List<Step> steps() {
        int numMicroBatches = 1 + actions.get(actions.size() - 1).microBatch();
        start(actions.get(0));
        for (int x = 0; x < actions.size(); x++) {
            Action action = actions.get(x);
            receive(action).ifPresent(transfer -> await(action, transfer));
            if (x + 1 < actions.size()) {
                start(actions.get(x + 1));
            }
            run(action, numMicroBatches);
            send(action).ifPresent(transfer -> {
                sending.put(key(transfer.slice(), slot(action)), transfer);
                steps.add(new StartTransfer(transfer));
            });
            if (action.phase().endsMicroBatch() && action.microBatch() == numMicroBatches - 1) {
                chunks.get(action.chunk()).reduce().ifPresent(name -> launch(name, action, 0));
            }
        }
        return steps;
    }

    private void run(Action action, int numMicroBatches) {
        ChunkPlanner chunk = chunks.get(action.chunk());
        boolean first = action.microBatch() == 0;
        boolean last = action.microBatch() == numMicroBatches - 1;
        int slot = action.phase() == Action.Phase.UPDATE ? 0 : slot(action);
        switch (action.phase()) {
            case FORWARD -> {
                awaitSend(chunk.slot("y"), slot);
                launch(chunk.forward(), action, slot);
            }
            case BACKWARD -> {
                awaitSend(chunk.slot("x.gradient"), slot);
                launch(chunk.backward(first, last), action, slot);
            }
            case BACKWARD_INPUT -> {
                awaitSend(chunk.slot("x.gradient"), slot);
                launch(chunk.backwardInput(), action, slot);
            }
            case BACKWARD_WEIGHT -> launch(chunk.backwardWeight(first, last), action, slot);
            case UPDATE -> {
                List.copyOf(sending.values()).forEach(transfer -> steps.add(new AwaitTransfer(transfer)));
                ENDING.stream().filter(segments::contains).forEach(name -> launch(name, action, 0));
            }
        }
    }

    private void launch(String segment, Action action, int slot) {
        steps.add(new Launch(segment, action.microBatch(), slot));
    }

    private int slot(Action action) {
        return slots.slot(action.chunk(), action.microBatch());
    }

    private static String key(Slice slice, int slot) {
        return slice + " slot " + slot;
    }

    private void awaitSend(Slice slice, int slot) {
        Transfer transfer = slice == null ? null : sending.remove(key(slice, slot));
        if (transfer != null) {
            steps.add(new AwaitTransfer(transfer));
        }
    }

    private void start(Action action) {
        receive(action).ifPresent(transfer -> {
            if (action.phase().makesInputGradient()) {
                awaitSend(chunks.get(action.chunk()).slot("y"), slot(action));
            }
            steps.add(new StartTransfer(transfer));
        });
    }

    private void await(Action action, Transfer transfer) {
        steps.add(new AwaitTransfer(transfer));
        if (action.phase() == Action.Phase.FORWARD) {
            steps.add(new RankPlan.Accept(
                    transfer.slice(), chunks.get(action.chunk()).slot("x"), slot(action) * slotBytes(action)));
        }
    }

    private Optional<Transfer> receive(Action action) {
        ChunkPlanner chunk = chunks.get(action.chunk());
        int stage = chunk.virtualStage();
        if (action.phase() == Action.Phase.FORWARD && !chunk.isFirst()) {
            return Optional.of(transfer(Direction.RECEIVE, action, stage - 1, stage, inboxes.get(action.chunk()), 0));
        }
        if (action.phase().makesInputGradient() && !chunk.isLast()) {
            long offset = slot(action) * slotBytes(action);
            return Optional.of(transfer(Direction.RECEIVE, action, stage + 1, stage, chunk.slot("y.gradient"), offset));
        }
        return Optional.empty();
    }

    private Optional<Transfer> send(Action action) {
        ChunkPlanner chunk = chunks.get(action.chunk());
        int stage = chunk.virtualStage();
        if (action.phase() == Action.Phase.FORWARD && !chunk.isLast()) {
            long offset = slot(action) * slotBytes(action);
            return Optional.of(transfer(Direction.SEND, action, stage, stage + 1, chunk.slot("y"), offset));
        }
        if (action.phase().makesInputGradient() && !chunk.isFirst()) {
            long offset = slot(action) * slotBytes(action);
            return Optional.of(transfer(Direction.SEND, action, stage, stage - 1, chunk.slot("x.gradient"), offset));
        }
        return Optional.empty();
    }

    private long slotBytes(Action action) {
        return chunks.get(action.chunk()).slotBytes();
    }

    private Transfer transfer(Direction direction, Action action, int from, int to, Slice slice, long offset) {
        int peer = (direction == Direction.SEND ? to : from) % numStages;
        return new Transfer(direction, peer, from + ">" + to + " mb " + action.microBatch(), slice, offset);
    }

    /** Forward through the chunks of this stage, one after the other. */
    static List<Step> evaluation(List<ChunkPlanner> chunks, NamedInputs named, int numStages) {
        List<Step> steps = new ArrayList<>();
        for (ChunkPlanner chunk : chunks) {
            int stage = chunk.virtualStage();
            if (!chunk.isFirst()) {
                Slice x = named.get("evaluation x" + chunk.suffix());
                Transfer receive =
                        new Transfer(Direction.RECEIVE, (stage - 1) % numStages, (stage - 1) + ">" + stage, x, 0);
                steps.add(new StartTransfer(receive));
                steps.add(new AwaitTransfer(receive));
            }
            steps.add(new Launch(chunk.evaluate(), 0, 0));
            if (!chunk.isLast()) {
                Slice y = named.get("evaluation y" + chunk.suffix());
                Transfer send = new Transfer(Direction.SEND, (stage + 1) % numStages, stage + ">" + (stage + 1), y, 0);
                steps.add(new StartTransfer(send));
                steps.add(new AwaitTransfer(send));
            }
        }
        return steps;
    }
}
