package io.brazier.spark.ml;

import org.apache.spark.ml.param.BooleanParam;
import org.apache.spark.ml.param.IntParam;
import org.apache.spark.ml.param.Param;

/**
 * How ranks share the training: numWorkers = tensorParallel * pipelineParallel * contextParallel * expertParallel times the number
 * of data-parallel replicas. See {@link io.brazier.plan.Layout}.
 */
public interface LayoutParams<T> extends ShardingParams<T> {

    /** Ranks that share the tokens of a sequence. */
    default IntParam contextParallel() {
        return Declare.intParam(this, "contextParallel", "ranks that share the tokens of a sequence", 1);
    }

    default int getContextParallel() {
        return (Integer) getOrDefault(contextParallel());
    }

    @SuppressWarnings("unchecked")
    default T setContextParallel(int value) {
        return (T) set(contextParallel(), value);
    }

    /** Ranks that share the experts of a mixture; its ranks see different rows. */
    default IntParam expertParallel() {
        return Declare.intParam(
                this, "expertParallel", "ranks that share the experts of a mixture; its ranks see different rows", 1);
    }

    default int getExpertParallel() {
        return (Integer) getOrDefault(expertParallel());
    }

    @SuppressWarnings("unchecked")
    default T setExpertParallel(int value) {
        return (T) set(expertParallel(), value);
    }

    /** Whether tensorParallel ranks also share the tokens of norms and residuals. */
    default BooleanParam sequenceParallel() {
        return new BooleanParam(
                this, "sequenceParallel", "whether tensorParallel ranks also share the tokens of norms and residuals");
    }

    default boolean getSequenceParallel() {
        return (Boolean) getOrDefault(sequenceParallel());
    }

    @SuppressWarnings("unchecked")
    default T setSequenceParallel(boolean value) {
        return (T) set(sequenceParallel(), value);
    }

    /** 0 = data-parallel ranks replicate the optimizer, 1 = they share its state, 2 = also gradients, 3 = also weights. */
    default IntParam zeroStage() {
        return Declare.intParam(
                this,
                "zeroStage",
                "0 = data-parallel ranks replicate the optimizer, 1 = they share its state, 2 = also gradients, 3 = also weights",
                0,
                3);
    }

    default int getZeroStage() {
        return (Integer) getOrDefault(zeroStage());
    }

    @SuppressWarnings("unchecked")
    default T setZeroStage(int value) {
        return (T) set(zeroStage(), value);
    }

    /** What backward computes again instead of keeping it: none, selective (attention) or full (blocks). */
    default Param<String> recompute() {
        return Declare.stringParam(
                this,
                "recompute",
                "what backward computes again instead of keeping it: none, selective (attention) or full (blocks)",
                "none",
                "selective",
                "full");
    }

    default String getRecompute() {
        return getOrDefault(recompute());
    }

    @SuppressWarnings("unchecked")
    default T setRecompute(String value) {
        return (T) set(recompute(), value);
    }

    /** Type of activations and of weights in products: fp32, bf16 with fp32 master weights, or bf16 but for the products of blocks. */
    default Param<String> precision() {
        return Declare.stringParam(
                this,
                "precision",
                "type of activations and of weights in products: fp32, bf16 with fp32 master weights, or fp8: as bf16, but the linear "
                        + "products of blocks in eight bits with scales, on GPUs of compute capability 8.9 or more",
                "fp32",
                "bf16",
                "fp8");
    }

    default String getPrecision() {
        return getOrDefault(precision());
    }

    @SuppressWarnings("unchecked")
    default T setPrecision(String value) {
        return (T) set(precision(), value);
    }

    /** Order of micro-batches on pipeline stages: 1f1b, gpipe, interleaved or zb-h1. */
    default Param<String> schedule() {
        return Declare.stringParam(
                this,
                "schedule",
                "order of micro-batches on pipeline stages: 1f1b, gpipe, interleaved or zb-h1",
                "1f1b",
                "gpipe",
                "interleaved",
                "zb-h1");
    }

    default String getSchedule() {
        return getOrDefault(schedule());
    }

    @SuppressWarnings("unchecked")
    default T setSchedule(String value) {
        return (T) set(schedule(), value);
    }

    /** Chunks of blocks on each pipeline stage; more than 1 with the interleaved schedule. */
    default IntParam virtualStages() {
        return Declare.intParam(
                this,
                "virtualStages",
                "chunks of blocks on each pipeline stage; more than 1 with the interleaved schedule",
                1);
    }

    default int getVirtualStages() {
        return (Integer) getOrDefault(virtualStages());
    }

    @SuppressWarnings("unchecked")
    default T setVirtualStages(int value) {
        return (T) set(virtualStages(), value);
    }

    /** Manual = as the settings say, auto = chosen so that it fits deviceMemory and, where cluster is set, is fastest there. */
    default Param<String> layout() {
        return Declare.stringParam(
                this,
                "layout",
                "manual = as the settings say, auto = chosen so that it fits deviceMemory and, where cluster is set, is fastest there",
                "manual",
                "auto");
    }

    default String getLayout() {
        return getOrDefault(layout());
    }

    @SuppressWarnings("unchecked")
    default T setLayout(String value) {
        return (T) set(layout(), value);
    }

    /** Hardware for which layout auto takes the fastest: a100, h100 or the path of a .json file; empty = the nearest to the settings. */
    default Param<String> cluster() {
        return Declare.stringParam(
                this,
                "cluster",
                "hardware for which layout auto takes the fastest: a100, h100 or the path of a .json file; empty = the nearest to the settings");
    }

    default String getCluster() {
        return getOrDefault(cluster());
    }

    @SuppressWarnings("unchecked")
    default T setCluster(String value) {
        return (T) set(cluster(), value);
    }

    /** Bytes for one rank's arena, as in 80g; empty = spark.executor.memoryOverhead over the executor's ranks on YARN and Kubernetes, no limit elsewhere. */
    default Param<String> deviceMemory() {
        return Declare.stringParam(
                this,
                "deviceMemory",
                "bytes for one rank's arena, as in 80g; empty = spark.executor.memoryOverhead over the executor's ranks on YARN and Kubernetes, no limit elsewhere");
    }

    default String getDeviceMemory() {
        return getOrDefault(deviceMemory());
    }

    @SuppressWarnings("unchecked")
    default T setDeviceMemory(String value) {
        return (T) set(deviceMemory(), value);
    }
}
