package io.brazier.spark.ml;

import io.brazier.nn.ModelConfig;
import io.brazier.plan.InferencePlan;
import io.brazier.spark.barrier.BarrierStage;
import io.brazier.tensor.Mesh;
import java.io.IOException;
import java.util.Iterator;
import java.util.List;
import org.apache.hadoop.conf.Configuration;
import org.apache.hadoop.fs.Path;
import org.apache.spark.Partitioner;
import org.apache.spark.SparkContext;
import org.apache.spark.api.java.JavaPairRDD;
import org.apache.spark.api.java.JavaRDD;
import org.apache.spark.sql.Dataset;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.types.StructType;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * Scores and generates with a model that tensorParallel * pipelineParallel ranks share. Rows are dealt to ranks and go back to where
 * they were in the table; on their way they keep the key that their random numbers are drawn by, so that they become what one
 * device would have made of them.
 */
final class ShardedInference {
    private final CausalLMModel model;
    private final Dataset<?> table;
    private final SparkContext context;
    private final Mesh mesh;

    ShardedInference(CausalLMModel model, Dataset<?> table) {
        this.model = model;
        this.table = table;
        this.context = table.sparkSession().sparkContext();
        this.mesh = new Mesh(1, model.getPipelineParallel(), 1, 1, model.getTensorParallel());
    }

    /**
     * The table with the model's columns. Nothing runs before its rows are wanted.
     *
     * @throws IllegalArgumentException when the model cannot be shared so, executors cannot read it, or there are too few of them
     */
    Dataset<Row> transform(StructType schema) {
        if (table.isStreaming()) {
            throw new IllegalArgumentException(
                    sizes() + ": a stream's rows never end, but ranks that share a model work through"
                            + " a table together: call transform in foreachBatch");
        }
        String directory = directory();
        InferenceSettings settings = InferenceSettings.of(model);
        refuseViolations(directory, settings);
        JavaRDD<Row> rows = table.toDF().toJavaRDD();
        int numPartitions = rows.getNumPartitions();
        BarrierStage stage =
                new BarrierStage(context, mesh.worldSize(), mesh.tp(), sizes(), "tensorParallel * pipelineParallel");
        int numRanks = mesh.worldSize() * stage.numReplicas(Math.max(1, numPartitions));
        if (numPartitions == 0) {
            return table.sparkSession().createDataFrame(rows, schema);
        }
        ShardedWork work = new ShardedWork(
                settings,
                table.schema().fieldIndex(model.getTextCol()),
                mesh,
                directory,
                new SerializableConfiguration(context.hadoopConfiguration()));
        JavaPairRDD<Long, Row> dealt = rows.mapPartitionsWithIndex(ShardedInference::keyed, true)
                .mapToPair(row -> row)
                .repartitionAndSortWithinPartitions(new Dealer(numRanks));
        JavaRDD<Tuple2<Long, Row>> made = stage.of(JavaRDD.fromRDD(dealt.rdd(), dealt.classTag()), work);
        JavaRDD<Row> back = made.mapToPair(row -> row)
                .repartitionAndSortWithinPartitions(new Origin(numPartitions))
                .values();
        return table.sparkSession().createDataFrame(back, schema);
    }

    private String sizes() {
        return "tensorParallel " + mesh.tp() + " * pipelineParallel " + mesh.pp();
    }

    /** Where every executor finds the model. */
    private String directory() {
        if (model.hasSummary() && !context.isLocal()) {
            throw new IllegalArgumentException(
                    "model " + model.uid() + " lies on the driver's disk since fit, but ranks that"
                            + " share it (" + sizes()
                            + ") read their parts themselves: save it to a directory that every executor"
                            + " can read, and load it from there");
        }
        Path path = new Path(model.directory());
        Configuration configuration = context.hadoopConfiguration();
        try {
            return path.getFileSystem(configuration).makeQualified(path).toString();
        } catch (IOException e) {
            throw new IllegalArgumentException("no model can be read from " + path + ": " + e.getMessage(), e);
        }
    }

    private void refuseViolations(String directory, InferenceSettings settings) {
        ModelConfig config = ModelDirectory.config("model " + directory, directory, context.hadoopConfiguration());
        List<String> violations = InferencePlan.violations(config, mesh);
        try {
            settings.maxTokens(config);
        } catch (IllegalArgumentException e) {
            violations.add(e.getMessage());
        }
        if (!violations.isEmpty()) {
            throw new IllegalArgumentException(sizes() + ": " + String.join("; ", violations));
        }
    }

    /** Rows without their schema, which every row would carry along. */
    private static Iterator<Tuple2<Long, Row>> keyed(int partition, Iterator<Row> rows) {
        return new Iterator<>() {
            private long next = Inference.firstKey(partition);

            @Override
            public boolean hasNext() {
                return rows.hasNext();
            }

            @Override
            public Tuple2<Long, Row> next() {
                return new Tuple2<>(next++, TextRunner.append(rows.next(), new Object[0]));
            }
        };
    }

    /** Deals the rows of each partition to the ranks in turn, each partition beginning with another rank. */
    private static final class Dealer extends Partitioner {
        private static final long serialVersionUID = 1L;
        private final int numRanks;

        Dealer(int numRanks) {
            this.numRanks = numRanks;
        }

        @Override
        public int numPartitions() {
            return numRanks;
        }

        @Override
        public int getPartition(Object key) {
            long value = (Long) key;
            return (int) (((value >>> Integer.SIZE) + (value & 0xFFFFFFFFL)) % numRanks);
        }
    }

    /** Back to the partition that a row came from. */
    private static final class Origin extends Partitioner {
        private static final long serialVersionUID = 1L;
        private final int numPartitions;

        Origin(int numPartitions) {
            this.numPartitions = numPartitions;
        }

        @Override
        public int numPartitions() {
            return numPartitions;
        }

        @Override
        public int getPartition(Object key) {
            return (int) ((Long) key >>> Integer.SIZE);
        }
    }
}
