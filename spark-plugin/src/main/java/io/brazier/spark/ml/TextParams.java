package io.brazier.spark.ml;

import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** What is read and how it becomes tokens: shared by the estimator and its model. */
public interface TextParams<T> extends Params {

    /** Input column of text. */
    default Param<String> textCol() {
        return Declare.stringParam(this, "textCol", "input column of text");
    }

    default String getTextCol() {
        return getOrDefault(textCol());
    }

    @SuppressWarnings("unchecked")
    default T setTextCol(String value) {
        return (T) set(textCol(), value);
    }

    /** Where the model runs: auto, cpu or cuda. */
    default Param<String> device() {
        return Declare.stringParam(
                this,
                "device",
                "where the model runs: cuda, cpu, or auto = cuda where every rank has a GPU",
                "auto",
                "cpu",
                "cuda");
    }

    default String getDevice() {
        return getOrDefault(device());
    }

    @SuppressWarnings("unchecked")
    default T setDevice(String value) {
        return (T) set(device(), value);
    }

    /** Seed of weights, sample order, dropout and sampling. */
    default LongParam seed() {
        return Declare.longParam(this, "seed", "seed of weights, sample order, dropout and sampling");
    }

    default long getSeed() {
        return (Long) getOrDefault(seed());
    }

    @SuppressWarnings("unchecked")
    default T setSeed(long value) {
        return (T) set(seed(), value);
    }
}
