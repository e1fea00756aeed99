package io.brazier.spark.ml;

import io.brazier.explain.FittingLayouts;
import io.brazier.explain.FittingLayouts.Fitting;
import io.brazier.plan.Layout;
import io.brazier.sim.LayoutSearch.Found;
import java.util.List;
import java.util.Optional;
import java.util.function.Predicate;

/**
 * A layout and why it was taken. What is set is the least that is taken.
 *
 * @param reason empty where the layout was set and not chosen
 */
record LayoutChoice(Layout layout, String reason) {

    /** As the params say. */
    static LayoutChoice set(Layout layout) {
        return new LayoutChoice(layout, "");
    }

    /** The layout nearest to what is set that fits: ZeRO and recomputation before tensor before pipeline parallelism. */
    static Optional<LayoutChoice> nearest(FittingLayouts search) {
        return search.nearest(1).stream()
                .findFirst()
                .map(Fitting::layout)
                .map(layout -> new LayoutChoice(layout, "layout auto: the nearest to the settings that fits"));
    }

    /**
     * The first of the layouts that were simulated which fits.
     *
     * @param found the fastest first
     * @param fits whether a layout's plan with all workspaces does
     */
    static Optional<LayoutChoice> fastest(List<Found> found, Predicate<Layout> fits) {
        return found.stream()
                .filter(f -> fits.test(f.layout()))
                .findFirst()
                .map(f -> new LayoutChoice(f.layout(), reason(f)));
    }

    private static String reason(Found found) {
        return String.format(
                "layout auto: on %s the fastest found that fits, %.4g s a step, limited by %s",
                found.report().hardware(),
                found.stepSeconds(),
                found.limit().name().toLowerCase(java.util.Locale.ROOT));
    }
}
