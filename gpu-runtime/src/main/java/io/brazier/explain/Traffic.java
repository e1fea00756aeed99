package io.brazier.explain;

import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.plan.RankPlan.StartTransfer;
import io.brazier.plan.RankPlan.Step;
import io.brazier.plan.RankPlan.Transfer.Direction;
import io.brazier.program.Collective;
import io.brazier.program.Collective.AllGather;
import io.brazier.program.Collective.AllReduce;
import io.brazier.program.Collective.AllToAll;
import io.brazier.program.Collective.GatherWeights;
import io.brazier.program.Collective.ReduceScatter;
import io.brazier.program.Collective.ScatterGradients;
import io.brazier.program.Instruction;
import io.brazier.program.Value;
import io.brazier.tensor.Axis;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Bytes that a rank sends in a step. Collectives over n ranks are counted as rings move them, which is the least for each: with in
 * and out the bytes of a rank's operands and results,
 *
 * <ul>
 *   <li>all-reduce 2 (n - 1) / n in,
 *   <li>all-gather and the gathering of weights (n - 1) / n out,
 *   <li>reduce-scatter and the scattering of gradients (n - 1) / n in,
 *   <li>all-to-all (n - 1) / n in,
 *   <li>shift in; a message of the pipeline its own bytes.
 * </ul>
 */
final class Traffic {
    private Traffic() {}

    /** Bytes by group of axes, for example {@code dp+cp}; groups of one rank are left out. */
    static Map<String, Double> sent(RankPlan plan) {
        Map<String, Map<String, Double>> bySegment = new HashMap<>();
        Map<String, Double> total = new TreeMap<>();
        for (Step step : plan.schedule()) {
            if (step instanceof Launch launch) {
                bySegment
                        .computeIfAbsent(launch.segment(), name -> segment(plan, name))
                        .forEach((group, bytes) -> total.merge(group, bytes, Double::sum));
            } else if (step instanceof StartTransfer start && start.transfer().direction() == Direction.SEND) {
                total.merge(
                        Axis.PP.toString(), (double) start.transfer().slice().bytes(), Double::sum);
            }
        }
        return total;
    }

    private static Map<String, Double> segment(RankPlan plan, String name) {
        Map<String, Double> sent = new HashMap<>();
        for (Instruction i : plan.segments().get(name).program().instructions()) {
            if (i.op() instanceof Collective c) {
                double bytes = bytes(c, i, plan.mesh().size(c.group()));
                if (bytes > 0) {
                    sent.merge(c.group().toString(), bytes, Double::sum);
                }
            }
        }
        return sent;
    }

    private static double bytes(Collective c, Instruction i, int size) {
        Collective op = c instanceof Collective.Start start ? start.collective() : c;
        double share = (size - 1.0) / size;
        if (size == 1 || op instanceof Collective.Replicate || op instanceof Collective.Wait) {
            return 0;
        }
        if (op instanceof AllReduce) {
            return 2 * share * bytes(i.inputs());
        }
        if (op instanceof AllGather || op instanceof GatherWeights) {
            return share * bytes(i.outputs());
        }
        if (op instanceof ReduceScatter || op instanceof ScatterGradients || op instanceof AllToAll) {
            return share * bytes(i.inputs());
        }
        if (op instanceof Collective.Shift) {
            return bytes(i.inputs());
        }
        throw new AssertionError("nobody counts what " + op.mnemonic() + " sends");
    }

    private static double bytes(List<Value> values) {
        return values.stream().mapToDouble(v -> v.type().bytes()).sum();
    }
}
