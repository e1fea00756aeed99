package io.brazier.spark.barrier;

import java.io.Serializable;
import java.util.Collections;
import org.apache.spark.BarrierTaskContext;
import scala.collection.Iterator;
import scala.jdk.javaapi.CollectionConverters;
import scala.runtime.AbstractFunction1;

/** One attempt of one rank of a {@link BarrierJob}, as Spark runs it. */
final class RankTask<T> extends AbstractFunction1<Iterator<T>, Iterator<Integer>> implements Serializable {
    private static final long serialVersionUID = 1L;

    private final RankWork<T> work;
    private final RankAttempt.Terms terms;
    private final String channel;

    RankTask(RankWork<T> work, RankAttempt.Terms terms, String channel) {
        this.work = work;
        this.terms = terms;
        this.channel = channel;
    }

    @Override
    public Iterator<Integer> apply(Iterator<T> partition) {
        DriverLink driver = DriverLink.to(channel, terms.generation());
        try (RankAttempt attempt = new RankAttempt(BarrierTaskContext.get(), terms, driver)) {
            attempt.run(() -> {
                work.run(attempt, CollectionConverters.asJava(partition));
                return null;
            });
        }
        return CollectionConverters.asScala(Collections.<Integer>emptyIterator());
    }
}
