package io.brazier.spark.ml;

import io.brazier.collective.Communicator;
import io.brazier.exec.InferenceEngine;
import io.brazier.nn.ReadAhead;
import io.brazier.spark.barrier.RankContext;
import io.brazier.spark.barrier.RankQuery;
import io.brazier.spark.data.HadoopStorage;
import io.brazier.spark.plugin.ExecutorRuntime;
import io.brazier.tensor.Mesh;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.sql.Row;
import org.apache.spark.util.SerializableConfiguration;
import scala.Tuple2;

/**
 * What each rank of sharded inference does: read its slices of the model, then run every row of its replica together with the other
 * ranks and give those that were dealt to it.
 *
 * @param mesh of a replica
 * @param directory of the model, anywhere that Hadoop reads
 */
record ShardedWork(
        InferenceSettings settings,
        int textColumn,
        Mesh mesh,
        String directory,
        SerializableConfiguration configuration)
        implements RankQuery<Tuple2<Long, Row>, Tuple2<Long, Row>> {

    @Override
    public Results<Tuple2<Long, Row>> run(RankContext context, Iterator<Tuple2<Long, Row>> rows) {
        ExecutorRuntime.warm();
        ModelDirectory model = ModelDirectory.load(new HadoopStorage(configuration.value()), directory);
        return new Turns(context.join(), model, rows);
    }

    /** One rank after the other tells the others a batch of its rows at a time, until it has no more. */
    private final class Turns implements Results<Tuple2<Long, Row>> {
        private final Communicator replica;
        private final TaskDevice device;
        private final ModelDirectory model;
        private final Iterator<Tuple2<Long, Row>> rows;
        private Iterator<Tuple2<Long, Row>> done = List.<Tuple2<Long, Row>>of().iterator();
        private InferenceEngine engine;
        private int turn;

        Turns(Communicator replica, ModelDirectory model, Iterator<Tuple2<Long, Row>> rows) {
            this.replica = replica;
            this.device = TaskDevice.agree(settings.device(), TaskContext.get(), replica);
            this.model = model;
            this.rows = rows;
        }

        @Override
        public boolean hasNext() {
            while (!done.hasNext() && turn < replica.size()) {
                runBatch();
            }
            return done.hasNext();
        }

        @Override
        public Tuple2<Long, Row> next() {
            if (!hasNext()) {
                throw new NoSuchElementException("end of the rank's rows");
            }
            return done.next();
        }

        private void runBatch() {
            List<Tuple2<Long, Row>> mine = turn == replica.rank() ? take() : List.of();
            TokenBatch batch =
                    TokenBatch.decode(replica.allGatherBytes(tokens(mine).encode())[turn]);
            if (batch.texts().isEmpty()) {
                turn++;
                return;
            }
            Object[][] values = new TextRunner(settings, engine(), model.tokenizer()).run(batch.texts(), batch.keys());
            List<Tuple2<Long, Row>> results = new ArrayList<>();
            for (int x = 0; x < mine.size(); x++) {
                Tuple2<Long, Row> row = mine.get(x);
                results.add(new Tuple2<>(row._1(), TextRunner.append(row._2(), values[x])));
            }
            done = results.iterator();
        }

        private List<Tuple2<Long, Row>> take() {
            List<Tuple2<Long, Row>> batch = new ArrayList<>();
            while (batch.size() < settings.batchSize() && rows.hasNext()) {
                batch.add(rows.next());
            }
            return batch;
        }

        private TokenBatch tokens(List<Tuple2<Long, Row>> batch) {
            return new TokenBatch(
                    batch.stream()
                            .map(row -> TextRunner.encode(row._2().getString(textColumn), model.tokenizer()))
                            .toList(),
                    batch.stream().mapToLong(Tuple2::_1).toArray());
        }

        /** Made for the first batch of any rank, and so on all ranks or on none. */
        private InferenceEngine engine() {
            if (engine == null) {
                engine = device.inference(
                        model.config(),
                        new ReadAhead(model.weights(), model.config().model().parameters()),
                        replica,
                        mesh,
                        settings.batchSize(),
                        settings.maxTokens(model.config()));
            }
            return engine;
        }

        @Override
        public void close() {
            try {
                if (engine != null) {
                    engine.close();
                }
            } finally {
                device.close();
            }
        }
    }
}
