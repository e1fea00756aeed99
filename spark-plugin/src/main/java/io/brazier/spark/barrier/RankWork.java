package io.brazier.spark.barrier;

import java.io.Serializable;
import java.util.Iterator;

/**
 * What every rank of a job does.
 *
 * @param <T> elements of its partition
 */
@FunctionalInterface
public interface RankWork<T> extends Serializable {
    /** Reads the partition, joins the others once by {@link RankContext#join}, and works. */
    void run(RankContext context, Iterator<T> partition) throws Exception;

    /** Neighbouring ranks that exchange most and should share a host; a divisor of their number. */
    default int groupSize() {
        return 1;
    }
}
