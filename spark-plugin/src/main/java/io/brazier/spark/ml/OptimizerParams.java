package io.brazier.spark.ml;

import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.LongParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** AdamW and its schedule; see TrainingConfig for units. */
public interface OptimizerParams<T> extends Params {

    /** Peak learning rate. */
    default DoubleParam learningRate() {
        return Declare.doubleParam(
                this, "learningRate", "peak learning rate", Double.MIN_VALUE, Double.POSITIVE_INFINITY);
    }

    default double getLearningRate() {
        return (Double) getOrDefault(learningRate());
    }

    @SuppressWarnings("unchecked")
    default T setLearningRate(double value) {
        return (T) set(learningRate(), value);
    }

    /** Learning rate that the cosine ends at. */
    default DoubleParam minLearningRate() {
        return Declare.doubleParam(
                this, "minLearningRate", "learning rate that the cosine ends at", 0, Double.POSITIVE_INFINITY);
    }

    default double getMinLearningRate() {
        return (Double) getOrDefault(minLearningRate());
    }

    @SuppressWarnings("unchecked")
    default T setMinLearningRate(double value) {
        return (T) set(minLearningRate(), value);
    }

    /** Steps of linear warm-up. */
    default LongParam warmupSteps() {
        return Declare.longParam(this, "warmupSteps", "steps of linear warm-up", 0);
    }

    default long getWarmupSteps() {
        return (Long) getOrDefault(warmupSteps());
    }

    @SuppressWarnings("unchecked")
    default T setWarmupSteps(long value) {
        return (T) set(warmupSteps(), value);
    }

    /** Decoupled decay of matrices. */
    default DoubleParam weightDecay() {
        return Declare.doubleParam(this, "weightDecay", "decoupled decay of matrices", 0, Double.POSITIVE_INFINITY);
    }

    default double getWeightDecay() {
        return (Double) getOrDefault(weightDecay());
    }

    @SuppressWarnings("unchecked")
    default T setWeightDecay(double value) {
        return (T) set(weightDecay(), value);
    }

    /** Decay of the first moment. */
    default DoubleParam beta1() {
        return Declare.doubleParam(this, "beta1", "decay of the first moment", 0, 1);
    }

    default double getBeta1() {
        return (Double) getOrDefault(beta1());
    }

    @SuppressWarnings("unchecked")
    default T setBeta1(double value) {
        return (T) set(beta1(), value);
    }

    /** Decay of the second moment. */
    default DoubleParam beta2() {
        return Declare.doubleParam(this, "beta2", "decay of the second moment", 0, 1);
    }

    default double getBeta2() {
        return (Double) getOrDefault(beta2());
    }

    @SuppressWarnings("unchecked")
    default T setBeta2(double value) {
        return (T) set(beta2(), value);
    }

    /** Term added to the root of the second moment. */
    default DoubleParam epsilon() {
        return Declare.doubleParam(
                this,
                "epsilon",
                "term added to the root of the second moment",
                Double.MIN_VALUE,
                Double.POSITIVE_INFINITY);
    }

    default double getEpsilon() {
        return (Double) getOrDefault(epsilon());
    }

    @SuppressWarnings("unchecked")
    default T setEpsilon(double value) {
        return (T) set(epsilon(), value);
    }

    /** Clip of the global gradient norm; 0 = off. */
    default DoubleParam maxGradientNorm() {
        return Declare.doubleParam(
                this, "maxGradientNorm", "clip of the global gradient norm; 0 = off", 0, Double.POSITIVE_INFINITY);
    }

    default double getMaxGradientNorm() {
        return (Double) getOrDefault(maxGradientNorm());
    }

    @SuppressWarnings("unchecked")
    default T setMaxGradientNorm(double value) {
        return (T) set(maxGradientNorm(), value);
    }

    /** Dropout rate in [0, 1). */
    default DoubleParam dropout() {
        return Declare.doubleParam(this, "dropout", "dropout rate in [0, 1)", 0, 1);
    }

    default double getDropout() {
        return (Double) getOrDefault(dropout());
    }

    @SuppressWarnings("unchecked")
    default T setDropout(double value) {
        return (T) set(dropout(), value);
    }

    /** What a non-finite loss or gradient does: stop or skip. */
    default Param<String> nonFinite() {
        return Declare.stringParam(
                this, "nonFinite", "what a non-finite loss or gradient does: stop or skip", "stop", "skip");
    }

    default String getNonFinite() {
        return getOrDefault(nonFinite());
    }

    @SuppressWarnings("unchecked")
    default T setNonFinite(String value) {
        return (T) set(nonFinite(), value);
    }
}
