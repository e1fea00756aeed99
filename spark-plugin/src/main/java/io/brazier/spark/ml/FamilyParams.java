package io.brazier.spark.ml;

import org.apache.spark.ml.param.DoubleParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Param;
import org.apache.spark.ml.param.Params;

/** Family of the network that is trained, and what only some families have. */
public interface FamilyParams<T> extends Params {

    /** Family of the model: gpt2 or llama. */
    default Param<String> modelType() {
        return Declare.stringParam(
                this,
                "modelType",
                "family of the model: gpt2, or llama (rotary positions, gated MLP, root-mean-square norms)",
                "gpt2",
                "llama");
    }

    default String getModelType() {
        return getOrDefault(modelType());
    }

    @SuppressWarnings("unchecked")
    default T setModelType(String value) {
        return (T) set(modelType(), value);
    }

    /** Key/value heads that the heads share (arXiv:2305.13245), for llama; 0 = numHeads. */
    default IntParam numKeyValueHeads() {
        return Declare.intParam(
                this, "numKeyValueHeads", "key/value heads that the heads share, for llama; 0 = numHeads", 0);
    }

    default int getNumKeyValueHeads() {
        return (Integer) getOrDefault(numKeyValueHeads());
    }

    @SuppressWarnings("unchecked")
    default T setNumKeyValueHeads(int value) {
        return (T) set(numKeyValueHeads(), value);
    }

    /** Base of the rotary frequencies, for llama. */
    default DoubleParam ropeTheta() {
        return Declare.doubleParam(this, "ropeTheta", "base of the rotary frequencies, for llama", 1, 1e12);
    }

    default double getRopeTheta() {
        return (Double) getOrDefault(ropeTheta());
    }

    @SuppressWarnings("unchecked")
    default T setRopeTheta(double value) {
        return (T) set(ropeTheta(), value);
    }

    /** Experts of a block, for llama; 0 = a plain MLP. */
    default IntParam numExperts() {
        return Declare.intParam(this, "numExperts", "experts of a block, for llama; 0 = a plain MLP", 0);
    }

    default int getNumExperts() {
        return (Integer) getOrDefault(numExperts());
    }

    @SuppressWarnings("unchecked")
    default T setNumExperts(int value) {
        return (T) set(numExperts(), value);
    }

    /** Experts that a token goes through. */
    default IntParam expertsPerToken() {
        return Declare.intParam(this, "expertsPerToken", "experts that a token goes through", 1);
    }

    default int getExpertsPerToken() {
        return (Integer) getOrDefault(expertsPerToken());
    }

    @SuppressWarnings("unchecked")
    default T setExpertsPerToken(int value) {
        return (T) set(expertsPerToken(), value);
    }

    /** Slots of an expert over those it needs when tokens spread evenly; 0 drops no token. */
    default DoubleParam capacityFactor() {
        return Declare.doubleParam(
                this,
                "capacityFactor",
                "slots of an expert over those it needs when tokens spread evenly; 0 drops no token",
                0,
                1e6);
    }

    default double getCapacityFactor() {
        return (Double) getOrDefault(capacityFactor());
    }

    @SuppressWarnings("unchecked")
    default T setCapacityFactor(double value) {
        return (T) set(capacityFactor(), value);
    }

    /** Weight of the loss that spreads tokens evenly over experts (arXiv:2101.03961). */
    default DoubleParam balanceCoefficient() {
        return Declare.doubleParam(
                this, "balanceCoefficient", "weight of the loss that spreads tokens evenly over experts", 0, 1e6);
    }

    default double getBalanceCoefficient() {
        return (Double) getOrDefault(balanceCoefficient());
    }

    @SuppressWarnings("unchecked")
    default T setBalanceCoefficient(double value) {
        return (T) set(balanceCoefficient(), value);
    }
}
