package io.brazier.spark.ml;

import io.brazier.cpu.CpuBackend;
import io.brazier.explain.FittingLayouts;
import io.brazier.explain.FittingLayouts.Fitting;
import io.brazier.explain.PlanReport;
import io.brazier.nn.ModelConfig;
import io.brazier.plan.Layout;
import io.brazier.plan.Request;
import io.brazier.program.Instruction;
import io.brazier.sim.Hardware;
import io.brazier.sim.LayoutSearch;
import io.brazier.sim.LayoutSearch.Bounds;
import io.brazier.sim.LayoutSearch.Found;
import io.brazier.sim.LayoutSearch.Query;
import io.brazier.tensor.Mesh;
import io.brazier.train.TrainingConfig;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalLong;
import java.util.function.ToLongFunction;
import java.util.stream.Collectors;
import org.apache.hadoop.conf.Configuration;

/** Settles the layout of a run and what it needs, on the driver alone. */
final class LayoutPlanner {
    private static final int NUM_PROPOSALS = 3;

    /** Simulated layouts that are tried: workspaces of kernels may take what the plan alone left. */
    private static final int NUM_SIMULATED = 8;

    private final CausalLM params;
    private final Configuration configuration;
    private final ModelConfig model;
    private final TrainingConfig config;
    private final OptionalLong deviceBytes;
    private final ToLongFunction<Instruction> workspaceBytes;

    /** @param settings checked ones, of which config was made */
    LayoutPlanner(FitSettings settings, ModelConfig model, TrainingConfig config) {
        this.params = settings.params();
        this.configuration = settings.configuration();
        this.model = model;
        this.config = config;
        this.deviceBytes = LayoutSettings.deviceBytes(params, settings.conf());
        this.workspaceBytes = new CpuBackend(settings.conf().getInt("spark.task.cpus", 1))::workspaceBytes;
    }

    /**
     * The layout to train under.
     *
     * @throws IllegalArgumentException when it does not run, or does not fit a rank's memory: then with the nearest that do
     */
    Layout settle() {
        Layout layout = wanted().layout();
        if (deviceBytes.isPresent()) {
            refuseMisfit(report(layout));
        } else {
            refuse(violations(layout));
        }
        return layout;
    }

    /** The plan, also of a layout that does not fit. */
    Explanation explain() {
        LayoutChoice choice = wanted();
        PlanReport report = report(choice.layout());
        boolean fits = deviceBytes.isEmpty() || report.peakBytes() <= deviceBytes.getAsLong();
        return new Explanation(report, choice.reason(), deviceBytes, fits ? "" : misfit(report));
    }

    /** As set, or chosen. */
    private LayoutChoice wanted() {
        List<String> violations = new ArrayList<>();
        Layout layout = LayoutSettings.layout(params, violations);
        refuse(violations);
        if (!params.getLayout().equals("auto")) {
            return LayoutChoice.set(layout);
        }
        Optional<LayoutChoice> choice =
                params.getCluster().isEmpty() ? LayoutChoice.nearest(search(layout)) : fastest(layout);
        return choice.orElseThrow(() -> new IllegalArgumentException("layout auto: of " + params.getNumWorkers()
                + " workers none runs and fits" + limit() + "; as it is set: "
                + String.join("; ", violations(layout))));
    }

    private Optional<LayoutChoice> fastest(Layout least) {
        Hardware hardware = Simulation.hardware(params.getCluster(), configuration);
        long memoryBytes = deviceBytes.orElse(Bounds.of(hardware).memoryBytes());
        Query query = new Query(
                model, least.mesh().worldSize(), config.batchSize(), config.sequenceLength(), least.precision());
        Bounds bounds = new Bounds(memoryBytes, config.numMicroBatches(), params.getSequenceParallel(), least);
        List<Found> found = LayoutSearch.best(query, bounds, hardware, NUM_SIMULATED);
        return LayoutChoice.fastest(
                found, layout -> PlanReport.peakBytes(request(layout), workspaceBytes) <= memoryBytes);
    }

    private List<String> violations(Layout layout) {
        return layout.violations(model, config.batchSize(), config.numMicroBatches(), config.sequenceLength());
    }

    private static void refuse(List<String> violations) {
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(String.join("; ", violations));
        }
    }

    private PlanReport report(Layout layout) {
        refuse(violations(layout));
        return PlanReport.of(request(layout), workspaceBytes);
    }

    private Request request(Layout layout) {
        Mesh mesh = layout.mesh();
        int parts = mesh.dp() * mesh.ep() * config.numMicroBatches();
        return new Request(
                        model.model(),
                        layout,
                        0,
                        Math.max(1, config.batchSize() / parts),
                        config.numMicroBatches(),
                        config.sequenceLength(),
                        config.dropout(),
                        config.weightDecay())
                .with(params.getDevice().equals("cuda") ? Request.Backward.FUSED : Request.Backward.PLAIN);
    }

    private FittingLayouts search(Layout layout) {
        return new FittingLayouts(
                request(layout),
                config.batchSize(),
                params.getSequenceParallel(),
                deviceBytes.orElse(Long.MAX_VALUE),
                workspaceBytes);
    }

    private void refuseMisfit(PlanReport report) {
        if (report.peakBytes() > deviceBytes.getAsLong()) {
            throw new IllegalArgumentException(misfit(report));
        }
    }

    private String misfit(PlanReport report) {
        Layout layout = report.request().layout();
        List<Fitting> nearest = search(layout).nearest(NUM_PROPOSALS);
        String proposals = nearest.isEmpty()
                ? "no layout of " + layout.mesh().worldSize() + " ranks near it does: add workers or memory"
                : "these do: " + nearest.stream().map(Fitting::toString).collect(Collectors.joining("; "));
        return "layout " + layout + " needs " + report.peakBytes() + " bytes on a rank and does not fit" + limit()
                + "; " + proposals;
    }

    private String limit() {
        return deviceBytes.isEmpty() ? "" : " the deviceMemory of " + deviceBytes.getAsLong() + " bytes";
    }
}
