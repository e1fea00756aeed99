package io.brazier.spark.ml;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Row;
import org.apache.spark.util.TaskCompletionListener;

/** Adds the model's columns to the rows of a partition, several rows at a time. Text that is null, or too short, gives null. */
final class Inference implements MapPartitionsFunction<Row, Row> {
    private static final long serialVersionUID = 1L;

    private final Broadcast<HashMap<String, byte[][]>> files;
    private final int textColumn;
    private final InferenceSettings settings;

    Inference(Broadcast<HashMap<String, byte[][]>> files, int textColumn, InferenceSettings settings) {
        this.files = files;
        this.textColumn = textColumn;
        this.settings = settings;
    }

    /** What tells a table's first row of a partition apart in the draw of random numbers; the next rows count on from it. */
    static long firstKey(int partition) {
        return (long) partition << Integer.SIZE;
    }

    @Override
    public Iterator<Row> call(Iterator<Row> rows) {
        if (!rows.hasNext()) {
            return rows;
        }
        TaskContext task = TaskContext.get();
        ExecutorModels.Lease model = ExecutorModels.lease(files, settings, task);
        TaskCompletionListener release = context -> model.close();
        task.addTaskCompletionListener(release);
        return new Batches(rows, model, firstKey(task.partitionId()));
    }

    /** Takes rows in batches and gives them one by one. */
    private final class Batches implements Iterator<Row> {
        private final Iterator<Row> rows;
        private final ExecutorModels.Lease model;
        private Iterator<Row> done = List.<Row>of().iterator();
        private long nextKey;

        Batches(Iterator<Row> rows, ExecutorModels.Lease model, long firstKey) {
            this.rows = rows;
            this.model = model;
            this.nextKey = firstKey;
        }

        @Override
        public boolean hasNext() {
            return done.hasNext() || rows.hasNext();
        }

        @Override
        public Row next() {
            if (!hasNext()) {
                throw new NoSuchElementException("end of the partition");
            }
            if (!done.hasNext()) {
                List<Row> batch = new ArrayList<>();
                long[] keys = new long[settings.batchSize()];
                while (batch.size() < settings.batchSize() && rows.hasNext()) {
                    keys[batch.size()] = nextKey++;
                    batch.add(rows.next());
                }
                done = model.use((engine, tokenizer) -> run(batch, keys, new TextRunner(settings, engine, tokenizer)))
                        .iterator();
            }
            return done.next();
        }
    }

    private List<Row> run(List<Row> batch, long[] keys, TextRunner runner) {
        List<int[]> texts = batch.stream()
                .map(row -> TextRunner.encode(row.getString(textColumn), runner.tokenizer()))
                .toList();
        Object[][] values = runner.run(texts, keys);
        List<Row> rows = new ArrayList<>();
        for (int x = 0; x < batch.size(); x++) {
            rows.add(TextRunner.append(batch.get(x), values[x]));
        }
        return rows;
    }
}
