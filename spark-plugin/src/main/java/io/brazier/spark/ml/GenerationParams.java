package io.brazier.spark.ml;

import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;
import org.apache.spark.ml.param.StringArrayParam;

/** What the model adds to a table: set them on the estimator or on the model. */
public interface GenerationParams<T> extends Params {

    /** Generate = continue the text; score = log-likelihood and perplexity of the text. */
    default Param<String> task() {
        return Declare.stringParam(
                this,
                "task",
                "generate = continue the text; score = log-likelihood and perplexity of the text",
                "generate",
                "score");
    }

    default String getTask() {
        return getOrDefault(task());
    }

    @SuppressWarnings("unchecked")
    default T setTask(String value) {
        return (T) set(task(), value);
    }

    /** Output column of generated text. */
    default Param<String> outputCol() {
        return Declare.stringParam(this, "outputCol", "output column of generated text");
    }

    default String getOutputCol() {
        return getOrDefault(outputCol());
    }

    @SuppressWarnings("unchecked")
    default T setOutputCol(String value) {
        return (T) set(outputCol(), value);
    }

    /** Output column of the log-likelihood of the text, nats. */
    default Param<String> logLikelihoodCol() {
        return Declare.stringParam(this, "logLikelihoodCol", "output column of the log-likelihood of the text, nats");
    }

    default String getLogLikelihoodCol() {
        return getOrDefault(logLikelihoodCol());
    }

    @SuppressWarnings("unchecked")
    default T setLogLikelihoodCol(String value) {
        return (T) set(logLikelihoodCol(), value);
    }

    /** Output column of the perplexity per token of the text. */
    default Param<String> perplexityCol() {
        return Declare.stringParam(this, "perplexityCol", "output column of the perplexity per token of the text");
    }

    default String getPerplexityCol() {
        return getOrDefault(perplexityCol());
    }

    @SuppressWarnings("unchecked")
    default T setPerplexityCol(String value) {
        return (T) set(perplexityCol(), value);
    }

    /** Tokens generated for a row. */
    default IntParam maxNewTokens() {
        return Declare.intParam(this, "maxNewTokens", "tokens generated for a row", 1);
    }

    default int getMaxNewTokens() {
        return (Integer) getOrDefault(maxNewTokens());
    }

    @SuppressWarnings("unchecked")
    default T setMaxNewTokens(int value) {
        return (T) set(maxNewTokens(), value);
    }

    /** Divisor of the logits; 0 = take the likeliest token. */
    default DoubleParam temperature() {
        return Declare.doubleParam(
                this,
                "temperature",
                "divisor of the logits; 0 = take the likeliest token",
                0,
                Double.POSITIVE_INFINITY);
    }

    default double getTemperature() {
        return (Double) getOrDefault(temperature());
    }

    @SuppressWarnings("unchecked")
    default T setTemperature(double value) {
        return (T) set(temperature(), value);
    }

    /** Sample among the k likeliest tokens; 0 = all. */
    default IntParam topK() {
        return Declare.intParam(this, "topK", "sample among the k likeliest tokens; 0 = all", 0);
    }

    default int getTopK() {
        return (Integer) getOrDefault(topK());
    }

    @SuppressWarnings("unchecked")
    default T setTopK(int value) {
        return (T) set(topK(), value);
    }

    /** Sample among the likeliest tokens of this total probability; 1 = all. */
    default DoubleParam topP() {
        return Declare.doubleParam(
                this, "topP", "sample among the likeliest tokens of this total probability; 1 = all", 0, 1);
    }

    default double getTopP() {
        return (Double) getOrDefault(topP());
    }

    @SuppressWarnings("unchecked")
    default T setTopP(double value) {
        return (T) set(topP(), value);
    }

    /** Texts of one token that end the generation. */
    default StringArrayParam stop() {
        return Declare.stringsParam(this, "stop", "texts of one token that end the generation");
    }

    default String[] getStop() {
        return getOrDefault(stop());
    }

    @SuppressWarnings("unchecked")
    default T setStop(String[] value) {
        return (T) set(stop(), value);
    }

    /** Tokens of a text that the model sees at once, which its key/value cache holds; 0 = as many as it has positions. */
    default IntParam contextLength() {
        return Declare.intParam(
                this,
                "contextLength",
                "tokens of a text that the model sees at once, which its key/value cache holds; 0 = as many as it has positions",
                0);
    }

    default int getContextLength() {
        return (Integer) getOrDefault(contextLength());
    }

    @SuppressWarnings("unchecked")
    default T setContextLength(int value) {
        return (T) set(contextLength(), value);
    }

    /** Rows run together. */
    default IntParam inferenceBatchSize() {
        return Declare.intParam(this, "inferenceBatchSize", "rows run together", 1);
    }

    default int getInferenceBatchSize() {
        return (Integer) getOrDefault(inferenceBatchSize());
    }

    @SuppressWarnings("unchecked")
    default T setInferenceBatchSize(int value) {
        return (T) set(inferenceBatchSize(), value);
    }
}
