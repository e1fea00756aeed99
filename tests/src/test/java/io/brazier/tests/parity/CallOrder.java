package io.brazier.tests.parity;

import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer;
import io.brazier.plan.TrainingPlan;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import io.brazier.tensor.Mesh;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;

/**
 * Plays the exchanges of all ranks' plans, without numbers or time. A rank issues calls to the queues of its groups and stands
 * still where it needs what another has not given yet. A collective is done when it is at the head of the queues of all members,
 * a transfer when both sides have reached it: neighbouring transfers of a queue make progress together.
 */
final class CallOrder {
    /** A call of one rank; what others must call too is equal to the letter. */
    private static final class Call {
        private final String what;
        private final boolean transfer;
        private boolean done;

        Call(String what, boolean transfer) {
            this.what = what;
            this.transfer = transfer;
        }
    }

    /** A call, or the point at which the rank needs one to be done. */
    private record Event(String queue, Call issued, Call needed) {}

    private final Mesh mesh;
    private final List<Deque<Event>> events = new ArrayList<>();
    private final List<Map<String, Deque<Call>>> queues = new ArrayList<>();
    private final Map<String, List<Integer>> members = new TreeMap<>();
    private int numCalls;

    private CallOrder(Mesh mesh) {
        this.mesh = mesh;
    }

    /**
     * Plays a step, or an evaluation, of every rank.
     *
     * @return how many calls there were
     * @throws AssertionError when members of a group call different things, or wait for ever
     */
    static int play(List<TrainingPlan> plans, boolean evaluation) {
        CallOrder order = new CallOrder(plans.get(0).plan().mesh());
        for (TrainingPlan plan : plans) {
            order.events.add(new ArrayDeque<>());
            order.queues.add(new HashMap<>());
            List<Step> steps = evaluation ? plan.evaluation() : plan.plan().schedule();
            order.read(plan.plan(), steps);
        }
        order.play();
        return order.numCalls;
    }

    private void read(RankPlan plan, List<Step> steps) {
        Map<Transfer, Call> transfers = new HashMap<>();
        Deque<Event> mine = events.get(plan.rank());
        for (Step step : steps) {
            if (step instanceof RankPlan.Launch launch) {
                read(plan, launch.segment(), mine);
            } else if (step instanceof RankPlan.StartTransfer start) {
                Transfer t = start.transfer();
                boolean sends = t.direction() == Transfer.Direction.SEND;
                int stage = mesh.coordinate(plan.rank(), Axis.PP);
                String way = sends ? stage + " to " + t.peer() : t.peer() + " to " + stage;
                Call call = new Call(way + ": " + t.message() + ", " + t.slice().bytes() + " bytes", true);
                if (transfers.put(t, call) != null) {
                    throw new AssertionError(t + " starts before the last " + t + " is awaited");
                }
                mine.add(new Event(queue(plan.rank(), Group.of(Axis.PP)), call, null));
            } else if (step instanceof RankPlan.AwaitTransfer await) {
                mine.add(new Event("", null, transfers.remove(await.transfer())));
            }
        }
        if (!transfers.isEmpty()) {
            throw new AssertionError("rank " + plan.rank() + " never awaits " + transfers.keySet());
        }
    }

    private void read(RankPlan plan, String segment, Deque<Event> mine) {
        Map<Value, Call> inFlight = new HashMap<>();
        for (Instruction i : plan.segments().get(segment).program().instructions()) {
            if (!(i.op() instanceof Collective op) || op instanceof Collective.Replicate) {
                continue;
            }
            if (op instanceof Collective.Wait) {
                mine.add(new Event("", null, inFlight.remove(i.inputs().get(0))));
                continue;
            }
            Collective called = op instanceof Collective.Start start ? start.collective() : op;
            String bytes = i.inputs().stream()
                    .map(v -> v.type().dtype() + " " + v.type().shape().numElements())
                    .collect(Collectors.joining(", "));
            Call call = new Call(called.getClass().getSimpleName() + " of " + bytes, false);
            mine.add(new Event(queue(plan.rank(), op.group()), call, null));
            if (op == called) {
                mine.add(new Event("", null, call));
            } else {
                inFlight.put(i.outputs().get(0), call);
            }
        }
        if (!inFlight.isEmpty()) {
            throw new AssertionError(segment + " never waits for " + inFlight.keySet());
        }
    }

    /** Groups of all ranks share one communicator. */
    private String queue(int rank, Group group) {
        List<Integer> ranks = mesh.members(rank, group);
        String name = ranks.size() == mesh.worldSize() ? "world" : group + " " + ranks;
        members.put(name, ranks);
        return name;
    }

    private void play() {
        for (boolean moved = true; moved; ) {
            moved = false;
            for (int rank = 0; rank < events.size(); rank++) {
                moved |= advance(rank);
            }
            for (Map.Entry<String, List<Integer>> group : members.entrySet()) {
                moved |= exchange(group.getKey(), group.getValue());
            }
        }
        for (int rank = 0; rank < events.size(); rank++) {
            if (!events.get(rank).isEmpty()) {
                throw new AssertionError("rank " + rank + " of " + mesh + " waits for ever for "
                        + events.get(rank).peek().needed().what);
            }
        }
    }

    private boolean advance(int rank) {
        boolean moved = false;
        Deque<Event> mine = events.get(rank);
        while (!mine.isEmpty() && (mine.peek().needed() == null || mine.peek().needed().done)) {
            Event event = mine.remove();
            if (event.issued() != null) {
                queue(rank, event.queue()).add(event.issued());
                numCalls++;
            }
            moved = true;
        }
        return moved;
    }

    private Deque<Call> queue(int rank, String name) {
        return queues.get(rank).computeIfAbsent(name, n -> new ArrayDeque<>());
    }

    private boolean exchange(String name, List<Integer> ranks) {
        boolean moved = false;
        for (int from : ranks) {
            for (int to : ranks) {
                moved |= from != to && transfer(name, from, to);
            }
            queue(from, name).removeIf(call -> call.transfer && call.done);
        }
        List<Call> heads = ranks.stream().map(rank -> queue(rank, name).peek()).toList();
        if (heads.stream().allMatch(call -> call != null && !call.transfer)) {
            if (heads.stream().map(call -> call.what).distinct().count() > 1) {
                throw new AssertionError("members of " + name + " call "
                        + heads.stream().map(call -> call.what).toList());
            }
            heads.forEach(call -> call.done = true);
            ranks.forEach(rank -> queue(rank, name).remove());
            moved = true;
        }
        return moved;
    }

    /** Both sides' next transfers from one stage to another, as far as nothing but transfers is ahead of them. */
    private boolean transfer(String name, int from, int to) {
        String way = mesh.coordinate(from, Axis.PP) + " to " + mesh.coordinate(to, Axis.PP) + ":";
        Call sent = next(queue(from, name), way);
        Call received = next(queue(to, name), way);
        if (sent == null || received == null) {
            return false;
        }
        if (!sent.what.equals(received.what)) {
            throw new AssertionError(
                    "rank " + from + " sends " + sent.what + ", rank " + to + " takes " + received.what);
        }
        sent.done = true;
        received.done = true;
        return true;
    }

    private static Call next(Deque<Call> queue, String way) {
        for (Call call : queue) {
            if (!call.transfer) {
                return null;
            }
            if (!call.done && call.what.startsWith(way)) {
                return call;
            }
        }
        return null;
    }
}
