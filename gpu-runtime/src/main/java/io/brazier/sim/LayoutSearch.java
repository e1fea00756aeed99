package io.brazier.sim;

import io.brazier.nn.ModelConfig;
import io.brazier.pipeline.Schedule;
import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.RankPlan;
import io.brazier.sim.LayoutEstimate.Cost;
import io.brazier.sim.SimulationReport.Communication;
import io.brazier.sim.SimulationReport.Stage;
import io.brazier.tensor.Axis;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Finds the layouts whose step is predicted to be shortest among those that fit into memory. Closed forms order all layouts that
 * have no violations; the best of these are planned and simulated, and only these times are reported.
 */
public final class LayoutSearch {
    /** Of a device's memory; the rest is for the driver's context and the buffers of the network library. */
    private static final double MEMORY_FRACTION = 0.95;
    /** Simulated for each layout asked for: closed forms are wrong by some percent. */
    private static final int SIMULATED_PER_RESULT = 2;
    /** Estimates of memory count some places twice that whole plans share, so that what they refuse by more does not fit. */
    private static final double ESTIMATE_SLACK = 1.1;
    /** Planned for each layout asked for, whether they fit or not. */
    private static final int PLANNED_PER_RESULT = 8;

    private static final int MAX_CONTEXT_PARALLEL = 16;
    private static final List<Integer> CHUNKS = List.of(2, 4);

    /**
     * What is looked for.
     *
     * @param numRanks of the cluster, all of which are used
     * @param batchSize rows of a step on all ranks
     * @param sequenceLength T
     */
    public record Query(
            ModelConfig model, int numRanks, int batchSize, int sequenceLength, Layout.Precision precision) {}

    /**
     * What a layout must keep to.
     *
     * @param memoryBytes that the arena of a rank may take
     * @param numMicroBatches of a step; 0 for any number
     * @param sequenceParallel whether ranks of tp may share the tokens outside of products
     * @param least layout: others have its degrees of parallelism, its ZeRO stage and its recomputation, or more
     */
    public record Bounds(long memoryBytes, int numMicroBatches, boolean sequenceParallel, Layout least) {

        /** Memory alone, less what driver and network library need. */
        public static Bounds of(Hardware hardware) {
            return new Bounds((long) (MEMORY_FRACTION * hardware.memoryBytes()), 0, true, Layout.dataParallel(1));
        }

        private boolean admit(Layout layout) {
            Mesh mesh = layout.mesh();
            Mesh lower = least.mesh();
            return mesh.tp() >= lower.tp()
                    && mesh.pp() >= lower.pp()
                    && mesh.cp() >= lower.cp()
                    && mesh.ep() >= lower.ep()
                    && layout.zeroStage() >= least.zeroStage()
                    && layout.recompute().compareTo(least.recompute()) >= 0;
        }
    }

    /** What costs most of a step, beside the compute that one device alone would do. */
    public enum Limit {
        /** Blocks are computed twice because their activations do not fit. */
        MEMORY,
        /** Stages wait for each other. */
        BUBBLE,
        /** Ranks wait for collectives and transfers. */
        COMMUNICATION,
        /** None of these takes a tenth of the step. */
        COMPUTE
    }

    /** A layout that fits, as it was simulated. */
    public record Found(Scenario scenario, SimulationReport report) {
        public Layout layout() {
            return scenario.layout();
        }

        public double stepSeconds() {
            return report.stepSeconds();
        }

        /** Bytes of the arena on the stage that needs most. */
        public long memoryBytes() {
            return report.stages().stream().mapToLong(Stage::memoryBytes).max().orElseThrow();
        }

        /** Share of the step in which communication was waited for, the mean of the stages. */
        public double exposedShare() {
            return report.stages().stream()
                            .flatMap(s -> s.communication().values().stream())
                            .mapToDouble(Communication::exposed)
                            .sum()
                    / report.stages().size()
                    / report.stepSeconds();
        }

        public Limit limit() {
            double compute = 1 - report.bubbleShare() - exposedShare();
            // Of forward, backward (twice forward) and forward again, a quarter is done twice.
            double again = layout().recompute() == Recompute.FULL ? compute / 4 : 0;
            double most = Math.max(again, Math.max(report.bubbleShare(), exposedShare()));
            if (most < 0.1) {
                return Limit.COMPUTE;
            }
            return most == again ? Limit.MEMORY : most == exposedShare() ? Limit.COMMUNICATION : Limit.BUBBLE;
        }

        @Override
        public String toString() {
            return String.format(
                    "%.4g s, MFU %.1f %%, %.2f GiB, bubble %.1f %%, exposed communication %.1f %%, limited by %s: %s,"
                            + " %d micro-batches of %d",
                    stepSeconds(),
                    100 * report.modelFlopsUtilization(),
                    memoryBytes() / (double) (1L << 30),
                    100 * report.bubbleShare(),
                    100 * exposedShare(),
                    limit().name().toLowerCase(java.util.Locale.ROOT),
                    layout(),
                    scenario.numMicroBatches(),
                    scenario.microBatchSize());
        }
    }

    private record Estimated(Scenario scenario, Cost cost) {}

    private final Query query;
    private final Bounds bounds;
    private final Hardware hardware;
    private final LayoutEstimate estimate;
    private final List<Estimated> estimated = new ArrayList<>();

    private LayoutSearch(Query query, Bounds bounds, Hardware hardware) {
        this.query = query;
        this.bounds = bounds;
        this.hardware = hardware;
        this.estimate = new LayoutEstimate(query.model().model(), query.numRanks(), query.sequenceLength(), hardware);
    }

    /**
     * The best layouts, the fastest first.
     *
     * @param count how many at most
     * @throws IllegalArgumentException when no layout has no violations, or none fits
     */
    public static List<Found> best(Query query, Bounds bounds, Hardware hardware, int count) {
        return new LayoutSearch(query, bounds, hardware).run(count);
    }

    private List<Found> run(int count) {
        meshes().forEach(this::enumerate);
        if (estimated.isEmpty()) {
            throw new IllegalArgumentException("no layout of " + query.numRanks() + " ranks divides batchSize "
                    + query.batchSize() + ", sequenceLength " + query.sequenceLength() + " and the model's heads and"
                    + " layers: change the batch or the number of ranks");
        }
        long capacity = bounds.memoryBytes();
        List<Scenario> ordered = estimated.stream()
                .filter(e -> e.cost().memoryBytes() < ESTIMATE_SLACK * capacity)
                .sorted(Comparator.comparingDouble(e -> e.cost().stepSeconds()))
                .map(Estimated::scenario)
                .toList();
        List<Found> found = new ArrayList<>();
        for (int x = 0; x < ordered.size(); x++) {
            boolean enough =
                    found.size() == SIMULATED_PER_RESULT * count || x >= PLANNED_PER_RESULT * count && !found.isEmpty();
            if (enough) {
                break;
            }
            Scenario scenario = ordered.get(x);
            List<RankPlan> stages = scenario.stages();
            if (stages.stream().allMatch(plan -> plan.totalBytes() <= capacity)) {
                found.add(new Found(scenario, Simulator.simulate(stages, hardware, scenario.workload())));
            }
        }
        if (found.isEmpty()) {
            double least = estimated.stream()
                    .mapToDouble(e -> e.cost().memoryBytes())
                    .min()
                    .orElseThrow();
            throw new IllegalArgumentException(String.format(
                    "no layout of %d ranks fits: the smallest needs about %.2f GiB of the %.2f that a rank may take:"
                            + " add ranks, or shorten sequences",
                    query.numRanks(), least / (1L << 30), capacity / (double) (1L << 30)));
        }
        return found.stream()
                .sorted(Comparator.comparingDouble(Found::stepSeconds))
                .limit(count)
                .toList();
    }

    private List<Mesh> meshes() {
        int host = hardware.network().tiers().get(0).numRanks();
        int maxStages = query.model().numLayers() + 2;
        List<Mesh> meshes = new ArrayList<>();
        for (int tp : divisors(query.numRanks(), host)) {
            int withoutTp = query.numRanks() / tp;
            for (int pp : divisors(withoutTp, maxStages)) {
                for (int cp : divisors(withoutTp / pp, MAX_CONTEXT_PARALLEL)) {
                    int left = withoutTp / pp / cp;
                    for (int ep : divisors(left, Math.max(1, query.model().numExperts()))) {
                        meshes.add(new Mesh(left / ep, pp, cp, ep, tp));
                    }
                }
            }
        }
        return meshes;
    }

    private static List<Integer> divisors(int of, int most) {
        return IntStream.rangeClosed(1, Math.min(of, most))
                .filter(x -> of % x == 0)
                .boxed()
                .toList();
    }

    /** All that a mesh can be combined with; the largest micro-batches come last, so that one too large ends them. */
    private void enumerate(Mesh mesh) {
        int dataSize = mesh.dp() * mesh.ep();
        int rows = query.batchSize() / dataSize;
        boolean sequenceParallel =
                bounds.sequenceParallel() && mesh.tp() > 1 && query.sequenceLength() / mesh.cp() % mesh.tp() == 0;
        Layout plain = Layout.of(mesh).withPrecision(query.precision());
        Layout base = sequenceParallel ? plain.withSequenceParallel() : plain;
        if (query.batchSize() % dataSize != 0
                || !base.violations(query.model(), query.batchSize(), 1, query.sequenceLength())
                        .isEmpty()) {
            return;
        }
        for (Recompute recompute : Recompute.values()) {
            for (int microBatchSize : microBatchSizes(rows)) {
                boolean fits = false;
                for (Layout layout : variants(base.withRecompute(recompute))) {
                    fits |= consider(layout, microBatchSize, rows / microBatchSize);
                }
                if (!fits) {
                    break;
                }
            }
        }
    }

    /** Those that divide the rows of a replica, in rising order. */
    private List<Integer> microBatchSizes(int rows) {
        int numMicroBatches = bounds.numMicroBatches();
        if (numMicroBatches > 0) {
            return rows % numMicroBatches == 0 ? List.of(rows / numMicroBatches) : List.of();
        }
        return IntStream.iterate(1, size -> size <= rows, size -> 2 * size)
                .filter(size -> rows % size == 0)
                .boxed()
                .toList();
    }

    /** A layout with every schedule and stage of ZeRO. GPipe is left out: 1F1B takes as long and stashes less. */
    private List<Layout> variants(Layout layout) {
        List<Layout> scheduled = new ArrayList<>(List.of(layout));
        if (layout.mesh().pp() > 1) {
            scheduled.add(layout.withSchedule(Schedule.ZB_H1, 1));
            CHUNKS.forEach(v -> scheduled.add(layout.withSchedule(Schedule.INTERLEAVED, v)));
        }
        int lastZero = layout.mesh().group(Axis.DP, Axis.CP, Axis.EP).isEmpty() ? 0 : 3;
        return scheduled.stream()
                .flatMap(l -> IntStream.rangeClosed(0, lastZero).mapToObj(l::withZeroStage))
                .filter(bounds::admit)
                .toList();
    }

    /** Estimates a layout; says whether it may fit. */
    private boolean consider(Layout layout, int microBatchSize, int numMicroBatches) {
        if (layout.numVirtualStages() > query.model().numLayers() + 2
                || layout.schedule()
                        .violation(layout.mesh().pp(), numMicroBatches, layout.chunksPerStage())
                        .isPresent()) {
            return false;
        }
        Scenario scenario =
                new Scenario(query.model(), layout, microBatchSize, numMicroBatches, query.sequenceLength());
        Cost cost = estimate.of(scenario);
        estimated.add(new Estimated(scenario, cost));
        return cost.memoryBytes() < ESTIMATE_SLACK * bounds.memoryBytes();
    }
}
