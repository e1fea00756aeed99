package io.brazier.spark.ml;

import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Param;

/** Sizes of the network that is trained. */
public interface ArchitectureParams<T> extends FamilyParams<T> {

    /** Number of transformer blocks. */
    default IntParam numLayers() {
        return Declare.intParam(this, "numLayers", "number of transformer blocks", 1);
    }

    default int getNumLayers() {
        return (Integer) getOrDefault(numLayers());
    }

    @SuppressWarnings("unchecked")
    default T setNumLayers(int value) {
        return (T) set(numLayers(), value);
    }

    /** Attention heads of a block. */
    default IntParam numHeads() {
        return Declare.intParam(this, "numHeads", "attention heads of a block", 1);
    }

    default int getNumHeads() {
        return (Integer) getOrDefault(numHeads());
    }

    @SuppressWarnings("unchecked")
    default T setNumHeads(int value) {
        return (T) set(numHeads(), value);
    }

    /** Width of the model, a multiple of numHeads. */
    default IntParam width() {
        return Declare.intParam(this, "width", "width of the model, a multiple of numHeads", 1);
    }

    default int getWidth() {
        return (Integer) getOrDefault(width());
    }

    @SuppressWarnings("unchecked")
    default T setWidth(int value) {
        return (T) set(width(), value);
    }

    /** Width inside the MLP; 0 = 4 times width, or for llama 8/3 of it in steps of 64. */
    default IntParam hiddenWidth() {
        return Declare.intParam(
                this,
                "hiddenWidth",
                "width inside the MLP; 0 = 4 times width, or for llama 8/3 of it in steps of 64",
                0);
    }

    default int getHiddenWidth() {
        return (Integer) getOrDefault(hiddenWidth());
    }

    @SuppressWarnings("unchecked")
    default T setHiddenWidth(int value) {
        return (T) set(hiddenWidth(), value);
    }

    /** Longest sequence the model can read; 0 = sequenceLength. */
    default IntParam maxPositions() {
        return Declare.intParam(this, "maxPositions", "longest sequence the model can read; 0 = sequenceLength", 0);
    }

    default int getMaxPositions() {
        return (Integer) getOrDefault(maxPositions());
    }

    @SuppressWarnings("unchecked")
    default T setMaxPositions(int value) {
        return (T) set(maxPositions(), value);
    }

    /** Directory of a GPT-2, Llama or Mixtral model in Hugging Face layout to start from; empty = random weights. */
    default Param<String> initialModel() {
        return Declare.stringParam(
                this,
                "initialModel",
                "directory of a GPT-2, Llama or Mixtral model in Hugging Face layout to start from; empty = random weights");
    }

    default String getInitialModel() {
        return getOrDefault(initialModel());
    }

    @SuppressWarnings("unchecked")
    default T setInitialModel(String value) {
        return (T) set(initialModel(), value);
    }
}
