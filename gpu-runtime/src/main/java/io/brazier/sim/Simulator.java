package io.brazier.sim;

import io.brazier.plan.RankPlan;
import io.brazier.plan.RankPlan.Launch;
import io.brazier.program.BatchedMatMul;
import io.brazier.program.Instruction;
import io.brazier.program.Matrix.MatMul;
import io.brazier.sim.SimulationReport.Communication;
import io.brazier.sim.SimulationReport.Stage;
import io.brazier.tensor.Axis;
import io.brazier.tensor.DType;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Runs rank plans on a clock. One rank of each pipeline stage stands for its replicas on the other axes: they run equal plans,
 * so that a collective among them begins when this rank is there. Concurrent collectives of different groups are priced as if
 * each had the links to itself.
 */
public final class Simulator {
    private Simulator() {}

    /**
     * What a step does for the user.
     *
     * @param tokensPerStep of all ranks
     * @param modelFlopsPerStep of all ranks, forward and backward, recomputation not counted
     */
    public record Workload(long tokensPerStep, double modelFlopsPerStep) {}

    /** Sees what ran when. */
    public interface Listener {
        /** A span of time on a stream of a pipeline stage; both times are seconds since the step began. */
        void span(int stage, String stream, String name, double start, double end);
    }

    /**
     * Plans a scenario and runs a step of it.
     *
     * @throws IllegalArgumentException naming every violation of the layout
     */
    public static SimulationReport simulate(Scenario scenario, Hardware hardware, Listener listener) {
        return simulate(scenario.stages(), hardware, scenario.workload(), listener);
    }

    /** The report alone. */
    public static SimulationReport simulate(Scenario scenario, Hardware hardware) {
        return simulate(scenario.stages(), hardware, scenario.workload());
    }

    /** The report alone. */
    public static SimulationReport simulate(List<RankPlan> stages, Hardware hardware, Workload workload) {
        return simulate(stages, hardware, workload, (stage, stream, name, start, end) -> {});
    }

    /**
     * Runs one step.
     *
     * @param stages the plan of one rank of each pipeline stage, in the order of stages
     * @throws IllegalArgumentException when stages are missing, their schedules wait for each other, or the mesh is larger than the
     *     network
     */
    public static SimulationReport simulate(
            List<RankPlan> stages, Hardware hardware, Workload workload, Listener listener) {
        check(stages);
        Mesh mesh = stages.get(0).mesh();
        OpCost ops = new OpCost(hardware, mesh.worldSize());
        CollectiveCost collectives = new CollectiveCost(hardware);
        List<List<Task>> tasks =
                stages.stream().map(p -> StageTasks.of(p, ops, collectives)).toList();
        Clock.Result result = Clock.run(tasks, listener);
        double flops = stages.stream().mapToDouble(Simulator::flops).sum() * mesh.worldSize() / mesh.pp();
        double possible = mesh.worldSize() * hardware.peak(precision(stages)) * result.stepSeconds();
        List<Stage> reported = new ArrayList<>();
        for (int x = 0; x < stages.size(); x++) {
            reported.add(report(stages.get(x), result.ranks().get(x)));
        }
        return new SimulationReport(
                hardware.name(),
                mesh,
                result.stepSeconds(),
                workload.tokensPerStep() / result.stepSeconds(),
                workload.modelFlopsPerStep() / possible,
                flops / possible,
                reported.stream().mapToDouble(Stage::idleSeconds).average().orElseThrow() / result.stepSeconds(),
                List.copyOf(reported));
    }

    private static void check(List<RankPlan> stages) {
        if (stages.isEmpty()) {
            throw new IllegalArgumentException("no plans: give one for each pipeline stage");
        }
        Mesh mesh = stages.get(0).mesh();
        List<Integer> coordinates =
                stages.stream().map(p -> p.mesh().coordinate(p.rank(), Axis.PP)).toList();
        boolean complete = stages.size() == mesh.pp()
                && stages.stream().allMatch(p -> p.mesh().equals(mesh))
                && coordinates.equals(coordinates.stream().sorted().distinct().toList());
        if (!complete) {
            throw new IllegalArgumentException("plans of stages " + coordinates + " of " + mesh
                    + ": give one plan for each pipeline stage, in order");
        }
    }

    private static Stage report(RankPlan plan, Clock.Usage usage) {
        Map<String, Communication> communication = new TreeMap<>();
        usage.communication()
                .forEach((group, c) -> communication.put(group, new Communication(c.total(), c.exposed())));
        return new Stage(
                plan.rank(),
                usage.computeSeconds(),
                usage.slowdownSeconds(),
                usage.idleSeconds(),
                communication,
                plan.regions(),
                plan.totalBytes());
    }

    /** FLOPs of one rank's step. */
    private static double flops(RankPlan plan) {
        Map<String, Double> bySegment = new TreeMap<>();
        plan.segments().forEach((name, s) -> bySegment.put(name, s.program().flops()));
        return plan.schedule().stream()
                .filter(Launch.class::isInstance)
                .mapToDouble(step -> bySegment.get(((Launch) step).segment()))
                .sum();
    }

    /** Type in which products run, against whose peak utilisation is measured. */
    private static DType precision(List<RankPlan> stages) {
        boolean brain = stages.stream()
                .flatMap(p -> p.segments().values().stream())
                .flatMap(s -> s.program().instructions().stream())
                .anyMatch(Simulator::multipliesBrainFloats);
        return brain ? DType.BF16 : DType.F32;
    }

    private static boolean multipliesBrainFloats(Instruction i) {
        return (i.op() instanceof MatMul || i.op() instanceof BatchedMatMul)
                && i.inputs().get(0).type().dtype() == DType.BF16;
    }
}
