package io.brazier.spark.ml;

import io.brazier.exec.InferenceEngine;
import io.brazier.exec.TextGenerator;
import io.brazier.text.Tokenizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.RowFactory;

/** What a model makes of texts: their continuations, or their scores. */
record TextRunner(InferenceSettings settings, InferenceEngine engine, Tokenizer tokenizer) {

    /** The tokens of a text; none of null. */
    static int[] encode(String text, Tokenizer tokenizer) {
        return text == null ? new int[0] : tokenizer.encode(text);
    }

    /**
     * The values of the new columns for each text; null where it is too short.
     *
     * @param texts at most settings.batchSize() of them
     * @param keys tell texts apart in the draw of random numbers
     */
    Object[][] run(List<int[]> texts, long[] keys) {
        int least = settings.generates() ? 1 : 2;
        Object[][] results = new Object[texts.size()][settings.generates() ? 1 : 2];
        int[] places = IntStream.range(0, texts.size())
                .filter(x -> texts.get(x).length >= least)
                .toArray();
        if (places.length > 0) {
            int[][] tokens = Arrays.stream(places).mapToObj(texts::get).toArray(int[][]::new);
            long[] drawn = Arrays.stream(places).mapToLong(x -> keys[x]).toArray();
            Object[][] found = settings.generates() ? generate(tokens, drawn) : score(tokens);
            for (int x = 0; x < found.length; x++) {
                results[places[x]] = found[x];
            }
        }
        return results;
    }

    private Object[][] generate(int[][] prompts, long[] keys) {
        int[][] made = new TextGenerator(engine, settings.generation(tokenizer)).generate(prompts, keys);
        return Arrays.stream(made)
                .map(tokens -> new Object[] {tokenizer.decode(tokens)})
                .toArray(Object[][]::new);
    }

    /** Longer texts than the model can read are scored in windows that overlap by one token, so that each counts once. */
    private Object[][] score(int[][] texts) {
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

    static Row append(Row row, Object[] values) {
        Object[] all = new Object[row.length() + values.length];
        for (int x = 0; x < row.length(); x++) {
            all[x] = row.get(x);
        }
        System.arraycopy(values, 0, all, row.length(), values.length);
        return RowFactory.create(all);
    }
}
