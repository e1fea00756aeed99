package io.brazier.spark.ml;

import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Params;

/** How ranks share a model, so that none holds it whole: in training, and, set on the model, when it scores or generates. */
public interface ShardingParams<T> extends Params {

    /** Ranks that share each block's heads and MLP columns and the vocabulary. */
    default IntParam tensorParallel() {
        return Declare.intParam(
                this, "tensorParallel", "ranks that share each block's heads and MLP columns and the vocabulary", 1);
    }

    default int getTensorParallel() {
        return (Integer) getOrDefault(tensorParallel());
    }

    @SuppressWarnings("unchecked")
    default T setTensorParallel(int value) {
        return (T) set(tensorParallel(), value);
    }

    /** Stages of the pipeline, which share the blocks. */
    default IntParam pipelineParallel() {
        return Declare.intParam(this, "pipelineParallel", "stages of the pipeline, which share the blocks", 1);
    }

    default int getPipelineParallel() {
        return (Integer) getOrDefault(pipelineParallel());
    }

    @SuppressWarnings("unchecked")
    default T setPipelineParallel(int value) {
        return (T) set(pipelineParallel(), value);
    }
}
