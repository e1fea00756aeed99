package io.brazier.spark.ml;

import io.brazier.exec.GenerationConfig;
import io.brazier.exec.InferenceEngine;
import io.brazier.exec.TextGenerator;
import io.brazier.text.Tokenizer;
import java.io.Serializable;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.Iterator;
import java.util.List;
import java.util.NoSuchElementException;
import org.apache.spark.TaskContext;
import org.apache.spark.api.java.function.MapPartitionsFunction;
import org.apache.spark.broadcast.Broadcast;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;
import org.apache.spark.util.TaskCompletionListener;

/** Adds the model's columns to the rows of a partition, several rows at a time. Text that is null, or too short, gives null. */
final class Inference implements MapPartitionsFunction<Row, Row> {
    private static final long serialVersionUID = 1L;

    private final Broadcast<HashMap<String, byte[][]>> files;
    private final int textColumn;
    private final Settings settings;

    /** The params of a model that executors need. */
    record Settings(
            boolean generates,
            int maxNewTokens,
            double temperature,
            int topK,
            double topP,
            long seed,
            List<String> stop,
            int batchSize)
            implements Serializable {
        static Settings of(CausalLMModel model) {
            return new Settings(
                    model.getTask().equals("generate"),
                    model.getMaxNewTokens(),
                    model.getTemperature(),
                    model.getTopK(),
                    model.getTopP(),
                    model.getSeed(),
                    new ArrayList<>(Arrays.asList(model.getStop())),
                    model.getInferenceBatchSize());
        }

        /** @throws IllegalArgumentException when a stop text is not exactly one token */
        GenerationConfig generation(Tokenizer tokenizer) {
            List<Integer> stopTokens = new ArrayList<>();
            for (String text : stop) {
                int[] ids = tokenizer.encode(text);
                if (ids.length != 1) {
                    throw new IllegalArgumentException("stop text \"" + text + "\" is " + ids.length
                            + " tokens of this tokenizer, but must be one: choose another");
                }
                stopTokens.add(ids[0]);
            }
            return new GenerationConfig(maxNewTokens, temperature, topK, topP, seed, stopTokens);
        }
    }

    Inference(Broadcast<HashMap<String, byte[][]>> files, int textColumn, Settings settings) {
        this.files = files;
        this.textColumn = textColumn;
        this.settings = settings;
    }

    @Override
    public Iterator<Row> call(Iterator<Row> rows) {
        if (!rows.hasNext()) {
            return rows;
        }
        TaskContext task = TaskContext.get();
        ExecutorModels.Lease model = ExecutorModels.lease(files, settings.batchSize(), task.cpus());
        TaskCompletionListener release = context -> model.close();
        task.addTaskCompletionListener(release);
        return new Batches(rows, model, (long) task.partitionId() << Integer.SIZE);
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
                while (batch.size() < settings.batchSize() && rows.hasNext()) {
                    batch.add(rows.next());
                }
                long firstKey = nextKey;
                nextKey += batch.size();
                done = model.use((engine, tokenizer) -> run(batch, firstKey, engine, tokenizer))
                        .iterator();
            }
            return done.next();
        }
    }

    private List<Row> run(List<Row> batch, long firstKey, InferenceEngine engine, Tokenizer tokenizer) {
        int least = settings.generates() ? 1 : 2;
        List<Integer> places = new ArrayList<>();
        List<int[]> texts = new ArrayList<>();
        for (int x = 0; x < batch.size(); x++) {
            String text = batch.get(x).getString(textColumn);
            int[] tokens = text == null ? new int[0] : tokenizer.encode(text);
            if (tokens.length >= least) {
                places.add(x);
                texts.add(tokens);
            }
        }
        int numColumns = settings.generates() ? 1 : 2;
        Object[][] results = new Object[batch.size()][numColumns];
        if (!texts.isEmpty()) {
            int[][] tokens = texts.toArray(new int[0][]);
            Object[][] found = settings.generates()
                    ? generate(tokens, places, firstKey, engine, tokenizer)
                    : score(tokens, engine);
            for (int x = 0; x < found.length; x++) {
                results[places.get(x)] = found[x];
            }
        }
        List<Row> rows = new ArrayList<>();
        for (int x = 0; x < batch.size(); x++) {
            rows.add(append(batch.get(x), results[x]));
        }
        return rows;
    }

    private Object[][] generate(
            int[][] prompts, List<Integer> places, long firstKey, InferenceEngine engine, Tokenizer tokenizer) {
        long[] keys = places.stream().mapToLong(place -> firstKey + place).toArray();
        int[][] made = new TextGenerator(engine, settings.generation(tokenizer)).generate(prompts, keys);
        return Arrays.stream(made)
                .map(tokens -> new Object[] {tokenizer.decode(tokens)})
                .toArray(Object[][]::new);
    }

    /** Longer texts than the model can read are scored in windows that overlap by one token, so that each counts once. */
    private static Object[][] score(int[][] texts, InferenceEngine engine) {
        List<int[]> windows = new ArrayList<>();
        List<Integer> owners = new ArrayList<>();
        for (int x = 0; x < texts.length; x++) {
            for (int from = 0; from + 1 < texts[x].length; from += engine.maxTokens() - 1) {
                windows.add(Arrays.copyOfRange(texts[x], from, Math.min(from + engine.maxTokens(), texts[x].length)));
                owners.add(x);
            }
        }
        double[] sums = new double[texts.length];
        for (int from = 0; from < windows.size(); from += engine.maxBatch()) {
            List<int[]> part = windows.subList(from, Math.min(from + engine.maxBatch(), windows.size()));
            float[][] found = engine.logLikelihood(part.toArray(new int[0][]));
            for (int x = 0; x < found.length; x++) {
                for (float value : found[x]) {
                    sums[owners.get(from + x)] += value;
                }
            }
        }
        Object[][] results = new Object[texts.length][];
        for (int x = 0; x < texts.length; x++) {
            results[x] = new Object[] {sums[x], Math.exp(-sums[x] / (texts[x].length - 1))};
        }
        return results;
    }

    private static Row append(Row row, Object[] values) {
        Object[] all = new Object[row.length() + values.length];
        for (int x = 0; x < row.length(); x++) {
            all[x] = row.get(x);
        }
        System.arraycopy(values, 0, all, row.length(), values.length);
        return RowFactory.create(all);
    }
}
