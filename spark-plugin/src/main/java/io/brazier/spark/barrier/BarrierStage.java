package io.brazier.spark.barrier;

import java.io.Serializable;
import java.util.Iterator;
import org.apache.spark.BarrierTaskContext;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.rdd.RDD;
import org.apache.spark.util.TaskCompletionListener;
import scala.jdk.javaapi.CollectionConverters;
import scala.reflect.ClassTag;
import scala.reflect.ClassTag$;
import scala.runtime.AbstractFunction1;

/**
 * A stage of one task per rank, all at once, whose results other stages read: Spark runs it when they need it, and again as a whole
 * when a rank or its results are lost. Ranks form replicas, each of which is connected in itself and knows nothing of the others.
 *
 * @param replicaSize ranks of a replica
 * @param groupSize neighbouring ranks that exchange most and should share a host; a divisor of replicaSize
 * @param setting what asks for a replica's ranks, with its value, and how it is named: for messages
 */
public record BarrierStage(SparkContext context, int replicaSize, int groupSize, String setting, String name) {
    private static final int ATTEMPT_BITS = 16;

    /**
     * Replicas that run at once here, at least one and at most so many.
     *
     * @throws IllegalArgumentException naming the settings to change, when this cluster has no room for one
     */
    public int numReplicas(int most) {
        ClusterCheck.settings(context.conf(), replicaSize);
        ClusterCheck.slots(context, new Slots(replicaSize, setting, name), JobSettings.of(context.conf()));
        return Math.max(1, Math.min(most, ClusterCheck.available(context) / replicaSize));
    }

    /**
     * The stage over data of as many partitions as there are ranks. What comes next must be a shuffle: Spark refuses to run some of
     * a barrier stage's tasks without the others, as in {@code take}.
     */
    public <T, R> JavaRDD<R> of(JavaRDD<T> data, RankQuery<T, R> query) {
        ClassTag<R> tag = ClassTag$.MODULE$.apply(Object.class);
        double collectiveSeconds = JobSettings.of(context.conf()).collectiveSeconds();
        RankAttempt.Terms terms =
                new RankAttempt.Terms(0, RankAttempt.Terms.newSecret(), groupSize, replicaSize, collectiveSeconds);
        RDD<R> results = data.rdd().barrier().mapPartitions(new Task<>(query, terms), false, tag);
        return JavaRDD.fromRDD(results, tag);
    }

    private static final class Task<T, R>
            extends AbstractFunction1<scala.collection.Iterator<T>, scala.collection.Iterator<R>>
            implements Serializable {
        private static final long serialVersionUID = 1L;

        private final RankQuery<T, R> query;
        private final RankAttempt.Terms terms;

        Task(RankQuery<T, R> query, RankAttempt.Terms terms) {
            this.query = query;
            this.terms = terms;
        }

        @Override
        @SuppressWarnings("try") // Spark closes the attempt when the task ends, however it ends
        public scala.collection.Iterator<R> apply(scala.collection.Iterator<T> partition) {
            BarrierTaskContext task = BarrierTaskContext.get();
            // Stages and their attempts are counted upwards, so that no two attempts have one number.
            long generation = (long) task.stageId() << ATTEMPT_BITS | task.stageAttemptNumber();
            RankAttempt attempt = new RankAttempt(task, terms.of(generation), DriverLink.none());
            TaskCompletionListener end = context -> attempt.close();
            task.addTaskCompletionListener(end);
            RankQuery.Results<R> results =
                    attempt.run(() -> query.run(attempt, CollectionConverters.asJava(partition)));
            // Called before the one that was added first.
            TaskCompletionListener release = context -> results.close();
            task.addTaskCompletionListener(release);
            return CollectionConverters.asScala(new Iterator<>() {
                private boolean ended;

                @Override
                public boolean hasNext() {
                    return attempt.run(() -> results.hasNext() || !end());
                }

                /**
                 * Waits for the tasks of the other replicas, once: if a replica had ended when another fails, Spark might count its
                 * results and run the other alone, which then waits for all for ever.
                 */
                private boolean end() {
                    if (!ended) {
                        task.barrier();
                        ended = true;
                    }
                    return true;
                }

                @Override
                public R next() {
                    return attempt.run(results::next);
                }
            });
        }
    }
}
