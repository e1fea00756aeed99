package io.brazier.explain;

import io.brazier.plan.Layout;
import io.brazier.plan.Layout.Recompute;
import io.brazier.plan.Request;
import io.brazier.program.Instruction;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.function.ToLongFunction;

/**
 * The layouts next to a given one that a device's memory holds: with a higher ZeRO stage, more recomputation, more tensor or more
 * pipeline parallelism, on as many ranks. A step of ZeRO costs least, then one of recomputation, then a doubling of tp, then one
 * of pp; the sum is the distance.
 *
 * @param request the wanted layout and what runs under it; its rank and the rows of its micro-batches mean nothing
 * @param rows samples of a global step
 * @param sequenceParallel whether layouts with tp use it
 * @param limitBytes what a rank may allocate
 * @param workspaceBytes what the back end wants beside its operands
 */
public record FittingLayouts(
        Request request,
        int rows,
        boolean sequenceParallel,
        long limitBytes,
        ToLongFunction<Instruction> workspaceBytes) {
    private static final int ZERO_COST = 1;
    private static final int RECOMPUTE_COST = 2;
    private static final int TENSOR_COST = 10;
    private static final int PIPELINE_COST = 11;

    /** Plans that are made before the search ends with what it has. */
    private static final int MAX_PLANNED = 40;

    /** A layout and the arena of its fullest rank. */
    public record Fitting(Layout layout, long bytes) {
        @Override
        public String toString() {
            return layout + " (" + PlanText.amount(bytes) + ")";
        }
    }

    private record Candidate(Request request, double distance) {}

    /** The nearest first, at most count; the wanted layout itself is the nearest of all where it fits. */
    public List<Fitting> nearest(int count) {
        List<Fitting> found = new ArrayList<>();
        List<Candidate> candidates = candidates();
        for (int x = 0; x < Math.min(candidates.size(), MAX_PLANNED) && found.size() < count; x++) {
            Request candidate = candidates.get(x).request();
            long bytes = PlanReport.peakBytes(candidate, workspaceBytes);
            if (bytes <= limitBytes) {
                found.add(new Fitting(candidate.layout(), bytes));
            }
        }
        return found;
    }

    private List<Candidate> candidates() {
        List<Candidate> all = new ArrayList<>();
        Mesh wanted = request.layout().mesh();
        for (int tp = 1; tp * wanted.tp() <= wanted.worldSize(); tp++) {
            for (int pp = 1; pp * wanted.pp() <= wanted.worldSize(); pp++) {
                if (wanted.dp() % (tp * pp) == 0) {
                    Mesh mesh = new Mesh(
                            wanted.dp() / (tp * pp), wanted.pp() * pp, wanted.cp(), wanted.ep(), wanted.tp() * tp);
                    double distance = TENSOR_COST * log2(tp) + PIPELINE_COST * log2(pp);
                    addVariants(mesh, distance, all);
                }
            }
        }
        all.sort(Comparator.comparingDouble(Candidate::distance));
        return all;
    }

    private static double log2(int x) {
        return Math.log(x) / Math.log(2);
    }

    private void addVariants(Mesh mesh, double distance, List<Candidate> all) {
        Layout layout = request.layout();
        // Without replicas ZeRO has nothing to share.
        int mostZero = mesh.dp() * mesh.cp() * mesh.ep() > 1 ? 3 : layout.zeroStage();
        for (int zero = layout.zeroStage(); zero <= mostZero; zero++) {
            for (int r = layout.recompute().ordinal(); r < Recompute.values().length; r++) {
                Layout other = new Layout(
                        mesh,
                        sequenceParallel && mesh.tp() > 1,
                        zero,
                        Recompute.values()[r],
                        layout.precision(),
                        layout.schedule(),
                        layout.chunksPerStage());
                double more = ZERO_COST * (zero - layout.zeroStage())
                        + RECOMPUTE_COST * (r - layout.recompute().ordinal());
                add(other, distance + more, all);
            }
        }
    }

    private void add(Layout layout, double distance, List<Candidate> all) {
        boolean runs = layout.violations(
                        request.model().config(), rows, request.numMicroBatches(), request.sequenceLength())
                .isEmpty();
        if (runs) {
            int parts = layout.mesh().dp() * layout.mesh().ep() * request.numMicroBatches();
            all.add(new Candidate(request.under(layout, rows / parts), distance));
        }
    }
}
