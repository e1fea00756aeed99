package io.brazier.sim;

import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Accept;
import io.brazier.plan.RankPlan.AwaitTransfer;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.RankPlan.StartTransfer;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer;
import io.brazier.plan.Segment;
import io.brazier.program.Collective;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.sim.CollectiveCost.Span;
import io.brazier.sim.Task.Compute;
import io.brazier.sim.Task.Meeting;
import io.brazier.sim.Task.Start;
import io.brazier.sim.Task.Wait;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Group;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The tasks of one stage's plan. An instruction is priced once for each segment, whatever the number of micro-batches. */
final class StageTasks {
    private final RankPlan plan;
    private final OpCost ops;
    private final CollectiveCost collectives;
    private final Map<Group, Span> spans = new HashMap<>();
    private final Map<String, Integer> meetings = new HashMap<>();
    private final Map<String, List<Task>> segments = new HashMap<>();
    private final List<Task> tasks = new ArrayList<>();

    private StageTasks(RankPlan plan, OpCost ops, CollectiveCost collectives) {
        this.plan = plan;
        this.ops = ops;
        this.collectives = collectives;
    }

    static List<Task> of(RankPlan plan, OpCost ops, CollectiveCost collectives) {
        StageTasks stage = new StageTasks(plan, ops, collectives);
        plan.schedule().forEach(stage::step);
        return stage.tasks;
    }

    /** One segment alone, without other stages. */
    static List<Task> of(RankPlan plan, String segment, OpCost ops, CollectiveCost collectives) {
        return new StageTasks(plan, ops, collectives).price(segment);
    }

    private void step(Step step) {
        if (step instanceof Launch launch) {
            launch(launch);
        } else if (step instanceof StartTransfer start) {
            tasks.add(transfer(start.transfer()));
        } else if (step instanceof AwaitTransfer await) {
            tasks.add(new Wait(await.transfer().toString()));
        } else if (step instanceof Accept accept) {
            tasks.add(new Compute("accept", ops.copySeconds(accept.from().bytes())));
        }
    }

    /** Both ends meet; messages from one to the other keep their order. */
    private Start transfer(Transfer t) {
        int stage = plan.mesh().coordinate(plan.rank(), Axis.PP);
        boolean sends = t.direction() == Transfer.Direction.SEND;
        String link = sends ? stage + ">" + t.peer() : t.peer() + ">" + stage;
        int peer = plan.mesh().members(plan.rank(), Group.of(Axis.PP)).get(t.peer());
        double seconds = collectives.sendReceive(plan.rank(), peer, t.slice().bytes());
        double taken = collectives.processorFraction(span(Group.of(Axis.PP)));
        Meeting meeting = new Meeting(link + " " + t.message(), link, 2);
        return new Start(t.toString(), t.toString(), Axis.PP.toString(), seconds, taken, meeting);
    }

    private void launch(Launch launch) {
        tasks.add(new Task.Launch(launch.toString()));
        for (Task task : segments.computeIfAbsent(launch.segment(), this::price)) {
            tasks.add(task instanceof Start start && start.meeting() != null ? numbered(start) : task);
        }
    }

    /** The n-th meeting of a group is the n-th on all its members. */
    private Start numbered(Start start) {
        String link = start.meeting().link();
        String key = link + " #" + meetings.merge(link, 1, Integer::sum);
        Meeting meeting = new Meeting(key, link, start.meeting().numMembers());
        return new Start(
                start.token(), start.name(), start.stream(), start.seconds(), start.processorFraction(), meeting);
    }

    private List<Task> price(String name) {
        Segment segment = plan.segments().get(name);
        List<Task> priced = new ArrayList<>();
        for (Instruction i : segment.program().instructions()) {
            if (!(i.op() instanceof Collective c)) {
                double seconds = ops.seconds(i);
                if (seconds > 0) {
                    priced.add(new Compute(i.op().mnemonic() + " " + i.path(), seconds));
                }
            } else if (plan.mesh().size(c.group()) > 1) {
                communicate(priced, i, c);
            }
        }
        return priced;
    }

    private void communicate(List<Task> priced, Instruction i, Collective op) {
        if (op instanceof Collective.Replicate) {
            return;
        }
        if (op instanceof Collective.Wait) {
            priced.add(new Wait(token(i.inputs().get(0))));
            return;
        }
        Collective inner = op instanceof Collective.Start s ? s.collective() : op;
        Group group = inner.group();
        String token = token(i.outputs().get(0));
        Meeting meeting = group.axes().contains(Axis.PP)
                ? new Meeting("", group.toString(), plan.mesh().size(group.pipelineEnds() ? group : Group.of(Axis.PP)))
                : null;
        String name = inner.mnemonic() + " " + i.path();
        Span span = span(group);
        priced.add(new Start(
                token,
                name,
                group.toString(),
                collectives.seconds(i, span),
                collectives.processorFraction(span),
                meeting));
        if (inner == op) {
            priced.add(new Wait(token));
        }
    }

    private static String token(Value v) {
        return Integer.toString(v.id());
    }

    private Span span(Group group) {
        return spans.computeIfAbsent(group, g -> collectives.span(plan.mesh().members(plan.rank(), g)));
    }
}
