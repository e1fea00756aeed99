package io.brazier.exec;

/**
 * A model's weights on one device, ready to score and to decode. One thread uses it; batches have at most {@link #maxBatch} rows.
 */
public interface InferenceEngine extends AutoCloseable {

    int maxBatch();

    /** Longest sequence, prompt and generated tokens together. */
    int maxTokens();

    int vocabularySize();

    /** Natural-log likelihood of each token after the first of each row: result [row][t] belongs to rows[row][t + 1]. */
    float[][] logLikelihood(int[][] rows);

    /** Empties the key/value cache and feeds the prompts; returns the logits [row][V] that follow each prompt. */
    float[][] prefill(int[][] prompts);

    /** Appends one token to each row of the last prefill; returns the logits [row][V] that follow it. */
    float[][] decode(int[] tokens);

    @Override
    void close();
}
