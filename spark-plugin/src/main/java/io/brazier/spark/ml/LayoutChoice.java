package io.brazier.spark.ml;

import io.brazier.explain.FittingLayouts;
import io.brazier.explain.FittingLayouts.Fitting;
import java.util.Optional;

/** Chooses a layout where the user leaves it to us. What is set is the least that is taken. */
interface LayoutChoice {

    /** The layout nearest to what is set that fits: ZeRO and recomputation before tensor before pipeline parallelism. */
    LayoutChoice NEAREST = search -> search.nearest(1).stream().findFirst();

    /** Empty when none fits. */
    Optional<Fitting> choose(FittingLayouts search);
}
