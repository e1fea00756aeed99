package io.brazier.spark.barrier;

import java.io.Serializable;
import java.util.Iterator;

/**
 * What every rank of a {@link BarrierStage} does.
 *
 * @param <T> elements of its partition
 * @param <R> elements of the result
 */
@FunctionalInterface
public interface RankQuery<T, R> extends Serializable {

    /** Results that are made as they are taken; they are taken to the end, or closed after a failure. */
    interface Results<R> extends Iterator<R>, AutoCloseable {
        @Override
        void close();
    }

    /** Joins the others of the replica once by {@link RankContext#join}, and gives what is made of the partition. */
    Results<R> run(RankContext context, Iterator<T> partition) throws Exception;
}
